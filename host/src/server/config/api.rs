//! The table `api`, with the keys of the API.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::Config;
use crate::api::{ApiKey, Scope};
use crate::auth::{Secret, SecretSource};
use crate::protocol::Pattern;

/// The maximum number of tables `api.keys`. Each request is compared with all of them.
const KEYS_MAX: usize = 100;

/// The maximum number of topics of a key.
const TOPICS_MAX: usize = 100;

/// The maximum number of bytes of a key's name or id.
const NAME_BYTES_MAX: usize = 64;

/// The table `api`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiTable {
    /// Whether there is an API. Default `true`.
    pub enabled: bool,
    /// A key for all calls and all topics: `{ env = "NAME" }` or `{ file = "PATH" }`. Default: one that the host makes, in the
    /// file `api-key` of the data directory.
    pub key: Option<SecretSource>,
    /// Further keys, each for some calls and some topics.
    pub keys: Vec<ApiKeyTable>,
    /// A separate address for the API. Default: none; the API is served at the host's address, below `/api`.
    pub listen: Option<String>,
}

impl Default for ApiTable {
    fn default() -> Self {
        Self { enabled: true, key: None, keys: Vec::new(), listen: None }
    }
}

/// One table `api.keys`: a key, and what it allows. `bennu key new` makes a key and prints its table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyTable {
    /// The name, for people. Each key has its own.
    pub name: String,
    /// The id of the key, for logs.
    pub id: String,
    /// The hash of the key: `sha256:` and 64 hexadecimal digits.
    pub hash: String,
    /// The calls that the key may be used for.
    pub scopes: Vec<Scope>,
    /// The patterns of the topics that the key may be used for. Default `["*"]`, all.
    #[serde(default = "all_topics")]
    pub topics: Vec<String>,
}

impl ApiTable {
    pub(super) fn check(&self) -> Result<()> {
        if let Some(key) = &self.key {
            key.check().context("`api.key`")?;
        }
        if self.keys.len() > KEYS_MAX {
            bail!("there are {} tables `api.keys`; at most {KEYS_MAX}", self.keys.len());
        }
        let (mut names, mut ids, mut hashes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (at, table) in self.keys.iter().enumerate() {
            let key = table.read(at)?;
            let fields = [("name", &mut names, key.name), ("id", &mut ids, key.id)];
            for (field, seen, value) in fields.into_iter().chain([("hash", &mut hashes, key.hash.to_string())]) {
                if let Some(other) = seen.insert(value, at) {
                    bail!("`api.keys[{other}]` and `api.keys[{at}]` have the same `{field}`; each key has its own");
                }
            }
        }
        Ok(())
    }
}

impl ApiKeyTable {
    /// Reads the table. `at` is its place in the list, for errors, which never contain the hash: it may be a key by mistake.
    fn read(&self, at: usize) -> Result<ApiKey> {
        let key = |field: &str| format!("`api.keys[{at}].{field}`");
        for (field, text) in [("name", &self.name), ("id", &self.id)] {
            let is_plain = !text.chars().any(char::is_control) && !text.trim().is_empty();
            if !is_plain || text.len() > NAME_BYTES_MAX {
                bail!("{} must have 1 to {NAME_BYTES_MAX} bytes, without control characters", key(field));
            }
        }
        if self.scopes.is_empty() {
            bail!("{} is empty; name `broadcast`, `send`, `read` or `operate`", key("scopes"));
        }
        if self.topics.is_empty() || self.topics.len() > TOPICS_MAX {
            bail!("{} must have 1 to {TOPICS_MAX} patterns; `[\"*\"]` is all topics", key("topics"));
        }
        let topic = |text: &String| {
            Pattern::parse(text).map_err(|error| anyhow!("{} has the pattern `{text}`: {error}", key("topics")))
        };
        Ok(ApiKey {
            name: self.name.clone(),
            id: self.id.clone(),
            hash: self.hash.parse().map_err(|why| anyhow!("{}: {why}", key("hash")))?,
            scopes: self.scopes.clone(),
            topics: self.topics.iter().map(topic).collect::<Result<_>>()?,
        })
    }
}

impl Config {
    /// Reads the API key that `api.key` names, if there is one.
    ///
    /// # Errors
    /// Returns an error if the key can't be read.
    pub fn api_key(&self) -> Result<Option<Secret>> {
        let key = self.api.key.as_ref().map(|source| source.read(&self.beside));
        key.transpose().context("`api.key` can't be used")
    }

    /// Returns the keys of the tables `api.keys`.
    ///
    /// # Errors
    /// Returns an error if a table is invalid.
    pub fn api_keys(&self) -> Result<Vec<ApiKey>> {
        self.api.keys.iter().enumerate().map(|(at, table)| table.read(at)).collect()
    }
}

fn all_topics() -> Vec<String> {
    vec!["*".into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ApiKeyHash;

    fn read(text: &str) -> Result<ApiTable> {
        let table: ApiTable = toml::from_str(text)?;
        table.check()?;
        Ok(table)
    }

    fn table(name: &str, key: &str, rest: &str) -> String {
        let hash = ApiKeyHash::of(key.as_bytes());
        format!("[[keys]]\nname = \"{name}\"\nid = \"{name}\"\nhash = \"{hash}\"\n{rest}\n")
    }

    #[test]
    fn keys_have_scopes_and_topics() -> Result<()> {
        let text = table("web", "a", "scopes = [\"send\", \"broadcast\"]\ntopics = [\"room:*\"]")
            + &table("monitor", "b", "scopes = [\"read\"]");
        let api = read(&text)?;
        let config = Config { api, ..Config::default() };
        let keys = config.api_keys()?;
        assert_eq!(keys[0].scopes, [Scope::Send, Scope::Broadcast]);
        assert_eq!(keys[0].topics, [Pattern::Prefix("room:".into())]);
        assert_eq!(keys[1].topics, [Pattern::Prefix("".into())]);
        Ok(())
    }

    #[test]
    fn an_invalid_key_is_refused_without_its_text() {
        let good = "scopes = [\"read\"]";
        let cases = [
            (table("a", "x", "scopes = []"), "`api.keys[0].scopes` is empty"),
            (table("a", "x", "scopes = [\"write\"]"), "unknown variant `write`"),
            (table("a", "x", &format!("{good}\ntopics = []")), "`api.keys[0].topics`"),
            (table("a", "x", &format!("{good}\ntopics = [\"a*b\"]")), "the pattern `a*b`"),
            (table(" ", "x", good), "`api.keys[0].name`"),
            (table("a", "x", good) + &table("a", "y", good), "have the same `name`"),
            (table("a", "x", good) + &table("b", "x", good), "have the same `hash`"),
            (
                "[[keys]]\nname = \"a\"\nid = \"b\"\nhash = \"hunter2\"\nscopes = [\"read\"]".into(),
                "as `bennu key new`",
            ),
        ];
        for (text, words) in cases {
            let error = read(&text).err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(words) && !error.contains("hunter2"), "{text}: {error}");
        }
    }
}
