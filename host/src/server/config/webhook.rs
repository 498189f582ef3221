//! A table of `webhooks`.

use anyhow::{Context, Result, anyhow, bail};
use bennu_outbound::{Access, Grant, SigningKeys, Target};
use serde::Deserialize;

use super::Config;
use crate::auth::SecretSource;
use crate::protocol::Pattern;
use crate::pubsub::PATTERNS_MAX;
use crate::store::{Owner, QUOTA_BYTES};
use crate::webhooks::{DELIVERY_BYTES_MIN, Webhook, WebhookEvent, owner_name};

/// The most webhooks.
const WEBHOOKS_MAX: usize = 16;

/// A table of `webhooks`: what happens in topics is delivered to a URL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookTable {
    /// The URL.
    pub url: String,
    /// Whether the name of its host may have a private address.
    #[serde(default)]
    pub private: bool,
    /// Patterns of topics.
    pub topics: Vec<String>,
    /// `broadcast`, `join`, `leave`, `presence`. Default: all.
    #[serde(default = "all_events")]
    pub events: Vec<String>,
    /// Secrets that sign the deliveries: none, one, or two while it is changed.
    #[serde(default)]
    pub secrets: Vec<SecretSource>,
}

fn all_events() -> Vec<String> {
    WebhookEvent::ALL.iter().map(|event| event.name().to_owned()).collect()
}

impl WebhookTable {
    /// Checks the table, and reads all but the secrets.
    fn read(&self) -> Result<Webhook> {
        self.grant()?;
        if let Some(secret) = self.secrets.iter().find_map(|secret| secret.check().err()) {
            return Err(secret.context("`secrets`"));
        }
        let topics =
            self.topics.iter().map(|topic| Pattern::parse(topic).map_err(|error| anyhow!("`{topic}`: {error}")));
        let topics = topics.collect::<Result<Vec<_>>>().context("`topics`")?;
        if topics.is_empty() || topics.len() > PATTERNS_MAX {
            bail!("`topics` has {} patterns; 1 to {PATTERNS_MAX} are allowed", topics.len());
        }
        let events = self.events.iter().map(|name| {
            let found = WebhookEvent::ALL.into_iter().find(|event| event.name() == name);
            found.with_context(|| format!("`events` has `{name}`; there are {}", all_events().join(", ")))
        });
        let owner = Owner::new(&owner_name(&self.url), QUOTA_BYTES).map_err(|_| anyhow!("`url` is too long"))?;
        Ok(Webhook { owner, url: self.url.clone(), topics, events: events.collect::<Result<_>>()? })
    }

    /// The grant for exactly this URL. The query of a URL is free in grants.
    fn grant(&self) -> Result<Grant> {
        let without_query = self.url.split('?').next().unwrap_or_default();
        if without_query.ends_with("/*") {
            bail!("`url` is one URL, and no pattern");
        }
        Grant::parse(without_query, self.private).map_err(|error| anyhow!("`url` has `{}`: {error}", self.url))
    }

    /// What its deliveries may ask for, with the keys that sign them if `config` is given.
    fn access(&self, config: Option<&Config>) -> Result<Access> {
        let access = Access::new(&owner_name(&self.url), vec![self.grant()?], Vec::new());
        let Some(config) = config.filter(|_| !self.secrets.is_empty()) else { return Ok(access) };
        let secrets = self.secrets.iter().map(|source| source.read(&config.beside)).collect::<Result<Vec<_>>>()?;
        let texts = secrets.iter().map(|secret| secret.expose()).collect::<Result<Vec<_>, _>>()?;
        let target = Target::parse(&self.url).map_err(|error| anyhow!("`url`: {error}"))?;
        let origin = format!("{}://{}", target.scheme(), target.authority());
        let keys = SigningKeys::new(&origin, texts).map_err(|error| anyhow!("`secrets`: {error}"))?;
        Ok(access.with_signing(vec![keys]))
    }
}

impl Config {
    /// The webhooks.
    ///
    /// # Errors
    /// Returns an error that names the table and what is wrong with it.
    pub fn webhooks(&self) -> Result<Vec<Webhook>> {
        if self.webhooks.len() > WEBHOOKS_MAX {
            bail!("`webhooks` has {} tables; at most {WEBHOOKS_MAX} are allowed", self.webhooks.len());
        }
        let mut webhooks: Vec<Webhook> = Vec::new();
        for (at, table) in self.webhooks.iter().enumerate() {
            let webhook = table.read().with_context(|| format!("`webhooks`, table {}", at + 1))?;
            if webhooks.iter().any(|other| other.url == webhook.url) {
                bail!("`webhooks`, table {}: an earlier table has the same `url`", at + 1);
            }
            webhooks.push(webhook);
        }
        if !webhooks.is_empty() {
            self.check_room_for_events()?;
        }
        Ok(webhooks)
    }

    /// Checks that each event can be stored when no other one is. One that can't would wait for ever, with all later ones.
    fn check_room_for_events(&self) -> Result<()> {
        if self.limits.deliveries_per_plugin == 0 {
            bail!(
                "`limits.deliveries_per_plugin` is 0; with `webhooks` it must be at least 1: each event is a delivery"
            );
        }
        let bytes = self.limits.delivery_bytes_per_plugin;
        if bytes < DELIVERY_BYTES_MIN {
            bail!(
                "`limits.delivery_bytes_per_plugin` is {bytes}; with `webhooks` it must be at least {DELIVERY_BYTES_MIN}, so that \
                 each event can be stored"
            );
        }
        Ok(())
    }

    /// What the deliveries of each webhook may ask for, by the name of their owner.
    pub(super) fn webhook_access(&self, with_secrets: bool) -> Result<Vec<(String, Access)>> {
        let access = |(at, table): (usize, &WebhookTable)| {
            let access = table.access(with_secrets.then_some(self));
            Ok((owner_name(&table.url), access.with_context(|| format!("`webhooks`, table {}", at + 1))?))
        };
        self.webhooks.iter().enumerate().map(access).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(table: &str) -> String {
        let parsed: Result<WebhookTable, _> = toml::from_str(table);
        match parsed {
            Ok(table) => table.read().err().map_or_else(String::new, |error| format!("{error:#}")),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_no_webhook_is_refused_with_its_key() {
        let url = "url = \"https://a.example/hook?x=1\"\n";
        let good = format!("{url}topics = [\"order:*\"]\nevents = [\"join\"]\nsecrets = [{{ env = \"X\" }}]");
        assert_eq!(refusal(&good), "");
        let cases = [
            ("topics = [\"a\"]".to_owned(), "url"),
            (url.to_owned(), "topics"),
            (format!("{url}topics = []"), "1 to 100"),
            (format!("{url}topics = [\"a*b\"]"), "`topics`"),
            (format!("{url}topics = [\"a\"]\nevents = [\"kick\"]"), "there are broadcast, join, leave, presence"),
            (format!("{url}topics = [\"a\"]\nsecrets = [\"hunter2\"]"), "secrets come from"),
            ("url = \"https://a.example/*\"\ntopics = [\"a\"]".to_owned(), "no pattern"),
            ("url = \"a.example\"\ntopics = [\"a\"]".to_owned(), "`url`"),
        ];
        for (table, text) in cases {
            let error = refusal(&table);
            assert!(error.contains(text) && !error.contains("hunter2"), "{table}: {error}");
        }
    }

    #[test]
    fn limits_in_which_an_event_could_not_be_stored_are_refused() {
        let webhook = "[[webhooks]]\nurl = \"https://a.example\"\ntopics = [\"a\"]";
        let refusal = |limit: &str, webhook: &str| {
            let parsed = Config::parse(&format!("[limits]\n{limit}\n{webhook}"));
            parsed.err().map_or_else(String::new, |error| format!("{error:#}"))
        };
        assert!(refusal("deliveries_per_plugin = 0", webhook).contains("it must be at least 1"));
        let refused = refusal("delivery_bytes_per_plugin = 1_048_575", webhook);
        assert!(refused.contains("`limits.delivery_bytes_per_plugin` is 1048575"), "{refused}");
        assert!(refused.contains("at least 1048576"), "{refused}");
        assert_eq!(refusal("deliveries_per_plugin = 1\ndelivery_bytes_per_plugin = 1_048_576", webhook), "");
        assert_eq!(refusal("deliveries_per_plugin = 0\ndelivery_bytes_per_plugin = 0", ""), "");
    }

    #[test]
    fn the_deliveries_of_a_webhook_may_go_to_its_url_only() {
        let table: WebhookTable = toml::from_str("url = \"https://a.example/hook?x=1\"\ntopics = [\"a\"]").unwrap();
        let access = table.access(None).unwrap();
        let check = |url: &str| {
            let (method, headers, body) = ("POST".into(), Vec::new(), Vec::new().into());
            let request = bennu_outbound::Request { method, url: url.into(), headers, body, timeout: None };
            access.check(&request, &bennu_outbound::OutboundLimits::default()).is_ok()
        };
        assert!(check("https://a.example/hook?x=1") && !check("https://a.example/other"));
        assert_eq!(&**access.name(), "webhook:https://a.example/hook?x=1");
    }
}
