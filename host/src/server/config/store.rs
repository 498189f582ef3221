//! The table `store`: where the store is.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::ServiceUrl;
use crate::auth::SecretSource;
use crate::store::PostgresPlace;

/// The table `store`. Without a `url`, the store is a file in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreTable {
    /// The PostgreSQL database that has the store: `"postgres://USER@HOST/DATABASE"`, or `{ env = "NAME" }` or
    /// `{ file = "PATH" }` if the URL has a password in it. Default none: the store is in the data directory.
    pub url: Option<ServiceUrl>,
    /// The role's password, if the URL has none: `{ env = "NAME" }` or `{ file = "PATH" }`.
    pub password: Option<SecretSource>,
    /// The schema that has the tables. Hosts with different schemas can share a database. Default `bennu`.
    pub schema: String,
    /// The number of connections: one writes, and the others read. Default 4.
    pub connections: usize,
    /// How long calls wait while the database can't be reached, in milliseconds. Then they fail, until it is there again. Default
    /// 10,000.
    pub wait_ms: u64,
}

/// The most connections.
const CONNECTIONS_MAX: usize = 64;

/// The longest `wait_ms`.
const WAIT_MS_MAX: u64 = 600_000;

impl Default for StoreTable {
    fn default() -> Self {
        Self {
            url: None,
            password: None,
            schema: crate::store::POSTGRES_SCHEMA.into(),
            connections: PostgresPlace::CONNECTIONS,
            wait_ms: u64::try_from(PostgresPlace::PATIENCE.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl StoreTable {
    pub(super) fn check(&self) -> Result<()> {
        ensure!(
            (2..=CONNECTIONS_MAX).contains(&self.connections),
            "`store.connections` is {}; it must be from 2 to {CONNECTIONS_MAX}",
            self.connections
        );
        ensure!(
            (100..=WAIT_MS_MAX).contains(&self.wait_ms),
            "`store.wait_ms` is {}; it must be from 100 to {WAIT_MS_MAX}",
            self.wait_ms
        );
        if let Some(password) = &self.password {
            password.check().context("`store.password`")?;
        }
        match &self.url {
            None => Ok(()),
            Some(ServiceUrl::Secret(source)) => source.check().context("`store.url`"),
            Some(ServiceUrl::Written(url)) => {
                // Before anything else reads the URL, because an error could show it.
                ensure!(
                    !PostgresPlace::has_password(url),
                    "`store.url` has a password in it; secrets come from the environment or a file, and are never written \
                     here: leave the password out and give `password = {{ env = \"NAME\" }}`, or give the whole URL as \
                     `url = {{ env = \"NAME\" }}` or `{{ file = \"path\" }}`"
                );
                PostgresPlace::new(url, None, &self.schema).map(drop).context("`store`")
            }
        }
    }

    /// Returns the database, if the store is in one. Reads secrets.
    ///
    /// # Errors
    /// If a secret can't be read, or the URL is wrong.
    pub fn place(&self, beside: &Path) -> Result<Option<PostgresPlace>> {
        let text = |source: &SecretSource| -> Result<String> { Ok(source.read(beside)?.expose()?.trim().to_owned()) };
        let Some(url) = &self.url else { return Ok(None) };
        let url = url.read(beside).context("`store.url` can't be used")?;
        let password = self.password.as_ref().map(text).transpose().context("`store.password` can't be used")?;
        let place = PostgresPlace::new(&url, password.as_deref(), &self.schema).context("`store` can't be used")?;
        Ok(Some(place.with(self.connections, Duration::from_millis(self.wait_ms))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn table(text: &str) -> StoreTable {
        toml::from_str(text).unwrap()
    }

    fn error(text: &str) -> String {
        format!("{:#}", table(text).check().unwrap_err())
    }

    #[test]
    fn a_url_is_written_or_a_secret() {
        let written = table("url = \"postgres://me@127.0.0.1/app\"\nschema = \"chat\"");
        written.check().unwrap();
        let place = written.place(Path::new("")).unwrap().unwrap();
        assert_eq!(place.to_string(), "the schema chat of the database app on 127.0.0.1");
        table("url = { env = \"DATABASE_URL\" }").check().unwrap();
        assert_eq!(StoreTable::default().place(Path::new("")).unwrap(), None);
    }

    #[test]
    fn a_password_is_never_written_in_the_file_or_shown() {
        for text in [
            "url = \"postgres://me:hunter2@db/app\"",
            "url = \"postgres://me:hunter2@db\"",
            "url = \"postgres://db/app?password=hunter2\"",
            "url = \"mysql://me:hunter2@db/app\"",
            "password = \"hunter2\"",
        ] {
            let error = error(text);
            assert!(error.contains("secrets come from") && !error.contains("hunter2"), "{error}");
            assert!(!format!("{:?}", table(text)).contains("hunter2"));
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        assert!(error("connections = 1").contains("from 2 to 64"));
        assert!(error("wait_ms = 0").contains("from 100 to 600000"));
        assert!(error("url = \"postgres://db/app\"\nschema = \"My\"").contains("lower-case name"));
    }
}
