//! The keys of a plugin's table about requests by HTTP: `http`, `http_headers` and `http_signing`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bennu_outbound::{Access, Grant, OutboundLimits, SecretHeaders, SigningKeys, VapidKey};
use serde::Deserialize;

use super::super::Limits;
use super::{Config, PluginTable};
use crate::auth::SecretSource;
use crate::contract::HttpLimits;

/// A grant in the configuration: a pattern of URLs, or a table with it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum HttpGrant {
    /// The pattern, such as `https://api.example.com/v1/*`.
    Url(String),
    /// The pattern with an option.
    Table(HttpGrantTable),
}

/// A grant with an option.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGrantTable {
    /// The pattern.
    pub url: String,
    /// Whether the name of the host may have a private address.
    #[serde(default)]
    pub private: bool,
}

/// A secret that stands for those of `http_signing` in checks that read none.
const EXAMPLE_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

impl HttpGrant {
    fn parse(&self, plugin: &str) -> Result<Grant> {
        let (url, is_private) = match self {
            Self::Url(url) => (url, false),
            Self::Table(table) => (&table.url, table.private),
        };
        Grant::parse(url, is_private).map_err(|error| anyhow!("`plugins.{plugin}.http` has `{url}`: {error}"))
    }
}

impl PluginTable {
    /// Checks the keys. `name` is the plugin's name, for errors.
    pub(super) fn check_http(&self, name: &str) -> Result<()> {
        let grants = self.grants(name)?;
        for (origin, headers) in &self.http_headers {
            let key = || format!("`plugins.{name}.http_headers.\"{origin}\"`");
            let secret = SecretHeaders::new(origin, headers.keys().map(|name| (name.as_str(), "x")))
                .map_err(|error| anyhow!("{}: {error}", key()))?;
            if !grants.iter().any(|grant| secret.is_for(grant)) {
                bail!("{} are never sent, because no URL of `plugins.{name}.http` has this origin", key());
            }
            for source in headers.values() {
                source.check().with_context(key)?;
            }
        }
        if let Some(table) = &self.web_push {
            table.key.check().with_context(|| format!("`plugins.{name}.web_push.key`"))?;
        }
        for (origin, secrets) in &self.http_signing {
            let key = || format!("`plugins.{name}.http_signing.\"{origin}\"`");
            let keys = SigningKeys::new(origin, secrets.iter().map(|_| EXAMPLE_SECRET))
                .map_err(|error| anyhow!("{}: {error}", key()))?;
            if !grants.iter().any(|grant| keys.is_for_grant(grant)) {
                bail!("{} sign nothing, because no URL of `plugins.{name}.http` has this origin", key());
            }
            for source in secrets {
                source.check().with_context(key)?;
            }
        }
        Ok(())
    }

    fn grants(&self, name: &str) -> Result<Vec<Grant>> {
        self.http.iter().map(|grant| grant.parse(name)).collect()
    }

    /// Reads the headers with secrets.
    fn secrets(&self, name: &str, beside: &Path) -> Result<Vec<SecretHeaders>> {
        let read = |(origin, headers): (&String, &BTreeMap<String, SecretSource>)| {
            let key = |header: &str| format!("`plugins.{name}.http_headers.\"{origin}\".{header}` can't be used");
            let mut secrets = Vec::with_capacity(headers.len());
            for (header, source) in headers {
                let secret = source.read(beside).with_context(|| key(header))?;
                secrets.push((header.as_str(), secret));
            }
            let mut pairs = Vec::with_capacity(secrets.len());
            for (header, secret) in &secrets {
                pairs.push((*header, secret.expose().with_context(|| key(header))?));
            }
            SecretHeaders::new(origin, pairs)
                .map_err(|error| anyhow!("`plugins.{name}.http_headers.\"{origin}\"`: {error}"))
        };
        self.http_headers.iter().map(read).collect()
    }

    /// Reads the key of the sender of push messages.
    fn vapid_key(&self, name: &str, beside: &Path) -> Result<Option<VapidKey>> {
        let Some(table) = &self.web_push else { return Ok(None) };
        let key = || format!("`plugins.{name}.web_push`");
        let secret = table.key.read(beside).with_context(key)?;
        let read = VapidKey::new(secret.expose().with_context(key)?, &table.subject);
        read.map(Some).map_err(|error| anyhow!("{}: {error}", key()))
    }

    /// Reads the secrets that sign deliveries.
    fn signing(&self, name: &str, beside: &Path) -> Result<Vec<SigningKeys>> {
        let read = |(origin, sources): (&String, &Vec<SecretSource>)| {
            let key = || format!("`plugins.{name}.http_signing.\"{origin}\"` can't be used");
            let secrets = sources.iter().map(|source| source.read(beside).with_context(key));
            let secrets = secrets.collect::<Result<Vec<_>>>()?;
            let texts = secrets.iter().map(|secret| secret.expose().with_context(key)).collect::<Result<Vec<_>>>()?;
            SigningKeys::new(origin, texts).map_err(|error| anyhow!("{}: {error}", key()))
        };
        self.http_signing.iter().map(read).collect()
    }
}

impl Config {
    /// Returns what each plugin and each webhook may ask for by HTTP. `with_secrets` says whether to read the headers with secrets. Tests without
    /// a network need none.
    ///
    /// # Errors
    /// Returns an error if a grant is invalid, or a secret can't be read.
    pub fn http_access(&self, with_secrets: bool) -> Result<HashMap<String, Arc<Access>>> {
        let access = |(name, table): (&String, &PluginTable)| {
            let (mut secrets, mut signing) = (Vec::new(), Vec::new());
            if with_secrets {
                (secrets, signing) = (table.secrets(name, &self.beside)?, table.signing(name, &self.beside)?);
            }
            let mut access = Access::new(name, table.grants(name)?, secrets).with_signing(signing);
            if with_secrets && let Some(key) = table.vapid_key(name, &self.beside)? {
                access = access.with_web_push(key);
            }
            Ok((name.clone(), Arc::new(access)))
        };
        let plugins = self.plugins.iter().filter(|(_, table)| !table.http.is_empty()).map(access);
        let webhooks =
            self.webhook_access(with_secrets)?.into_iter().map(|(name, access)| Ok((name, Arc::new(access))));
        plugins.chain(webhooks).collect()
    }
}

impl Limits {
    /// Returns the limits of requests by HTTP.
    #[must_use]
    pub fn http(&self) -> HttpLimits {
        HttpLimits {
            get: Duration::from_millis(self.http_get_ms),
            requests_per_member: self.http_requests_per_member,
            requests_per_topic: self.http_requests_per_topic,
            delivery: Duration::from_millis(self.http_delivery_ms),
        }
    }

    /// Returns the limits of the client for requests by HTTP.
    #[must_use]
    pub fn outbound(&self) -> OutboundLimits {
        OutboundLimits {
            sent_bytes: self.http_sent_bytes,
            received_bytes: self.http_received_bytes,
            whole: Duration::from_millis(self.http_ms),
            at_once_per_plugin: self.http_at_once_per_plugin,
            at_once: self.http_at_once,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(table: &str) -> String {
        let parsed: Result<PluginTable, _> = toml::from_str(table);
        match parsed {
            Ok(table) => table.check_http("p").err().map_or_else(String::new, |error| format!("{error:#}")),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_grant_that_is_not_allowed_is_refused_with_its_key() {
        let headers = "[http_headers.\"https://a.example\"]\nx = { env = \"X\" }";
        assert_eq!(refusal(&format!("http = [\"https://a.example/*\"]\n{headers}")), "");
        assert_eq!(refusal("http = [{ url = \"http://a.example/*\", private = true }]"), "");
        let cases = [
            ("http = [\"https://*.example/*\"]".to_owned(), "`plugins.p.http` has `https://*.example/*`: an asterisk"),
            ("http = [\"a.example\"]".to_owned(), "a URL must be absolute"),
            ("[http_signing]\n\"https://a.example\" = [{ env = \"X\" }]".to_owned(), "sign nothing"),
            (
                "http = [\"https://a.example/*\"]\n[http_signing]\n\"https://a.example\" = []".to_owned(),
                "1 or 2 are allowed",
            ),
            (
                "http = [\"https://a.example/*\"]\n[http_signing]\n\"https://a.example\" = [\"hunter2\"]".to_owned(),
                "secrets come from the environment",
            ),
            (headers.to_owned(), "are never sent"),
            (format!("http = [\"https://b.example/*\"]\n{headers}"), "`plugins.p.http_headers.\"https://a.example\"`"),
            ("[http_headers.\"https://a.example/x\"]\nx = { env = \"X\" }".to_owned(), "must be only a scheme"),
            ("[http_headers.\"https://a.example\"]\nhost = { env = \"X\" }".to_owned(), "made by the host"),
            (
                "http = [\"https://a.example/*\"]\n[http_headers.\"https://a.example\"]\nx = \"hunter2\"".to_owned(),
                "secrets come from the environment",
            ),
        ];
        for (table, text) in cases {
            let error = refusal(&table);
            assert!(error.contains(text) && !error.contains("hunter2"), "{table}: {error}");
        }
    }
}
