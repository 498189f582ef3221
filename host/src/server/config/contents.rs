//! The contents of the files and variables that a configuration names: secrets and keys. They may change although the configuration
//! doesn't.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use super::changes::{ConfigChange, TakesEffect};
use super::{ClusterBus, Config, JwtTable, ServiceUrl};
use crate::auth::{ApiKeyHash, Secret, SecretSource};
use crate::server::made_api_key;

/// The digest of the contents that each key names, and when a change of them takes effect.
#[derive(Debug, Default)]
pub(in crate::server) struct Contents(BTreeMap<String, (Vec<[u8; 32]>, TakesEffect)>);

impl Contents {
    fn add(&mut self, key: String, takes_effect: TakesEffect, digests: Vec<[u8; 32]>) {
        self.0.insert(key, (digests, takes_effect));
    }

    /// Returns the keys of `new` whose contents differ. A key that only one of the two has is a difference of the configurations.
    pub(in crate::server) fn changes(&self, new: &Self) -> Vec<ConfigChange> {
        let differing = new.0.iter().filter(|(key, (digests, _))| {
            let before = self.0.get(*key);
            before.is_some_and(|(before, _)| before != digests)
        });
        let change = |(key, (_, takes_effect)): (&String, &(_, TakesEffect))| ConfigChange {
            key: format!("{key} (its content)"),
            takes_effect: takes_effect.clone(),
        };
        differing.map(change).collect()
    }
}

/// Reads everything that a configuration names.
///
/// # Errors
/// Returns an error if something can't be read.
pub(in crate::server) fn contents(config: &Config) -> Result<Contents> {
    let mut found = Contents::default();
    let beside = &config.beside;
    if let Some(sources) = &config.secret_key_base {
        let secrets = sources.read(beside).context("`secret_key_base` can't be used")?;
        found.add("secret_key_base".into(), TakesEffect::Now, secrets.iter().map(digest).collect());
    }
    if config.api.enabled {
        // A file that is gone, or that the host would replace, has no key: the host makes another one.
        let key = config.api_key()?.or_else(|| made_api_key(&config.data).ok().flatten());
        found.add("api.key".into(), TakesEffect::Now, key.iter().map(digest).collect());
    }
    if let Some(ServiceUrl::Secret(source)) = &config.store.url {
        let url = source.read(beside).context("`store.url` can't be used")?;
        found.add("store.url".into(), TakesEffect::Restart, vec![digest(&url)]);
    }
    if let Some(source) = &config.store.password {
        let password = source.read(beside).context("`store.password` can't be used")?;
        found.add("store.password".into(), TakesEffect::Restart, vec![digest(&password)]);
    }
    if let Some(cluster) = &config.cluster {
        let secret = cluster.secret.iter().map(|source| ("cluster.secret", source));
        let bus = match &cluster.bus {
            ClusterBus::Postgres => None,
            ClusterBus::Nats(nats) => Some(nats.secrets()),
        };
        for (key, source) in secret.chain(bus.into_iter().flatten()) {
            let secret = source.read(beside).with_context(|| format!("`{key}` can't be used"))?;
            found.add(key.into(), TakesEffect::Restart, vec![digest(&secret)]);
        }
    }
    for (path, table) in &config.mounts {
        if let Some(jwt) = &table.jwt {
            let key = format!("mounts.{path:?}.jwt");
            let digests = of_jwt(jwt, beside).with_context(|| format!("`{key}` can't be used"))?;
            found.add(key, TakesEffect::NewConnections, digests);
        }
    }
    for (name, table) in &config.plugins {
        let key = format!("plugins.{name}.http_headers");
        let mut digests = Vec::new();
        for source in table.http_headers.values().flat_map(BTreeMap::values) {
            digests.push(digest(&source.read(beside).with_context(|| format!("`{key}` can't be used"))?));
        }
        found.add(key, TakesEffect::PluginReload(Some(name.clone())), digests);
        // The next attempt of a delivery reads them.
        let key = format!("plugins.{name}.http_signing");
        let secrets = of_secrets(table.http_signing.values().flatten(), beside);
        found.add(key.clone(), TakesEffect::Now, secrets.with_context(|| format!("`{key}` can't be used"))?);
        let key = format!("plugins.{name}.web_push");
        let secrets = of_secrets(table.web_push.iter().map(|table| &table.key), beside);
        found.add(key.clone(), TakesEffect::Now, secrets.with_context(|| format!("`{key}` can't be used"))?);
    }
    let secrets = of_secrets(config.webhooks.iter().flat_map(|table| &table.secrets), beside);
    found.add("webhooks".into(), TakesEffect::Now, secrets.context("`webhooks` can't be used")?);
    Ok(found)
}

fn of_secrets<'a>(sources: impl Iterator<Item = &'a SecretSource>, beside: &Path) -> Result<Vec<[u8; 32]>> {
    sources.map(|source| Ok(digest(&source.read(beside)?))).collect()
}

fn of_jwt(jwt: &JwtTable, beside: &Path) -> Result<Vec<[u8; 32]>> {
    let mut digests = Vec::new();
    if let Some(sources) = &jwt.secret {
        digests.extend(sources.read(beside)?.iter().map(digest));
    }
    for file in jwt.public_key.iter().chain(&jwt.jwks) {
        let path = beside.join(file);
        let bytes = std::fs::read(&path).with_context(|| format!("reading the keys in {}", path.display()))?;
        digests.push(Sha256::digest(&bytes).into());
    }
    Ok(digests)
}

fn digest(secret: &Secret) -> [u8; 32] {
    ApiKeyHash::of_secret(secret).bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_is_a_difference() -> Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("bennu.toml");
        std::fs::write(
            &path,
            "[api]\nkey = { file = \"key\" }\n[plugins.a]\nhttp = [\"https://a.example/*\"]\n\
             http_headers.\"https://a.example\".x = { file = \"header\" }",
        )?;
        for file in ["key", "header"] {
            std::fs::write(home.path().join(file), "one")?;
        }
        let config = Config::read(&path)?;
        let before = contents(&config)?;
        assert_eq!(before.changes(&contents(&config)?), []);
        std::fs::write(home.path().join("key"), "two")?;
        let found = before.changes(&contents(&config)?);
        assert_eq!(found, [ConfigChange { key: "api.key (its content)".into(), takes_effect: TakesEffect::Now }]);
        std::fs::write(home.path().join("header"), "two")?;
        let found = before.changes(&contents(&config)?);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].takes_effect, TakesEffect::PluginReload(Some("a".into())));
        let gone = Config {
            api: super::super::ApiTable { key: Some(SecretSource::File("no".into())), ..config.api },
            ..config
        };
        assert!(contents(&gone).is_err_and(|error| format!("{error:#}").contains("`api.key`")));
        Ok(())
    }
}
