//! Where a store on PostgreSQL is: the URL, the schema, and how connections are made.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::tls::Tls;

/// The schema that has the tables, unless the configuration names another one.
pub const SCHEMA: &str = "bennu";

/// A database with a store. Cheap to clone.
#[derive(Clone)]
pub struct PostgresPlace {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    tls: Tls,
    schema: String,
    connections: usize,
    patience: Duration,
    /// The database without its password.
    shown: String,
}

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long sent data may stay without an acknowledgement before the connection counts as lost.
const UNANSWERED: Duration = Duration::from_secs(10);

/// The most bytes of a schema's name in PostgreSQL.
const NAME_BYTES_MAX: usize = 63;

impl PostgresPlace {
    /// The default number of connections: one writes, and the others read.
    pub const CONNECTIONS: usize = 4;

    /// The default time for which calls wait while the database can't be reached.
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// Reads a URL: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`.
    ///
    /// # Errors
    /// If the URL, or the name of the schema, is wrong. The error doesn't contain the password.
    pub fn new(url: &str, password: Option<&str>, schema: &str) -> Result<Self> {
        let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let is_name = schema.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit());
        let begins_well = schema.bytes().next().is_some_and(is_first) && !schema.starts_with("pg_");
        ensure!(
            is_name && begins_well && schema.len() <= NAME_BYTES_MAX,
            "`schema` is `{}`; it must be a lower-case name of letters, digits and `_`, which doesn't begin with `pg_`",
            schema.escape_debug()
        );
        let Own { url, sslmode, roots } = Own::take(url)?;
        // The library's error may quote a part of the URL.
        let config: Result<Config, _> = url.parse();
        let mut config = match config {
            Ok(config) => config,
            Err(error) => bail!("`url` isn't a PostgreSQL URL: {}", reason(&error)),
        };
        if let Some(password) = password {
            config.password(password);
        }
        ensure!(!config.get_hosts().is_empty(), "`url` names no host: postgres://USER@HOST/DATABASE");
        ensure!(config.get_dbname().is_some(), "`url` names no database: postgres://USER@HOST/DATABASE");
        let is_local =
            config.get_hosts().iter().all(is_local) && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        let tls = Tls::new(&sslmode, is_local, roots)?;
        config.ssl_mode(if tls.is_used() { SslMode::Require } else { SslMode::Disable });
        config.application_name(concat!("bennu ", env!("CARGO_PKG_VERSION")));
        config.connect_timeout(CONNECT_TIMEOUT).tcp_user_timeout(UNANSWERED);
        config.keepalives_idle(UNANSWERED).keepalives_interval(UNANSWERED / 3).keepalives_retries(3);
        let shown = shown(&config, schema);
        let inner = Inner {
            config,
            tls,
            schema: schema.to_owned(),
            connections: Self::CONNECTIONS,
            patience: Self::PATIENCE,
            shown,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sets the number of connections, which is at least two, and for how long calls wait while the database can't be reached.
    #[must_use]
    pub fn with(self, connections: usize, patience: Duration) -> Self {
        let Inner { config, tls, schema, shown, .. } = &*self.inner;
        let (config, tls, schema, shown) = (config.clone(), tls.clone(), schema.clone(), shown.clone());
        Self { inner: Arc::new(Inner { config, tls, schema, connections: connections.max(2), patience, shown }) }
    }

    /// Whether a URL has a password in it.
    #[must_use]
    pub fn has_password(url: &str) -> bool {
        let has = |config: &Config| config.get_password().is_some();
        // What can't be read as a URL may still have a secret in it.
        let in_text =
            || url.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().is_some_and(in_authority));
        Own::take(url).ok().and_then(|own| own.url.parse().ok()).as_ref().map_or_else(in_text, has)
    }

    pub(super) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.inner.tls
    }

    pub(super) fn schema(&self) -> &str {
        &self.inner.schema
    }

    pub(super) fn connections(&self) -> usize {
        self.inner.connections
    }

    pub(super) fn patience(&self) -> Duration {
        self.inner.patience
    }
}

impl fmt::Display for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.shown)
    }
}

impl fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresPlace").field(&self.inner.shown).finish()
    }
}

impl PartialEq for PostgresPlace {
    fn eq(&self, other: &Self) -> bool {
        self.inner.config == other.inner.config && self.inner.schema == other.inner.schema
    }
}

/// The parameters of a URL that are handled here, and the rest of the URL.
struct Own {
    url: String,
    sslmode: Option<String>,
    roots: Option<PathBuf>,
}

impl Own {
    fn take(url: &str) -> Result<Self> {
        ensure!(
            url.starts_with("postgres://") || url.starts_with("postgresql://"),
            "`url` must begin with `postgres://`"
        );
        let Some((base, query)) = url.split_once('?') else {
            return Ok(Self { url: url.to_owned(), sslmode: None, roots: None });
        };
        let (mut sslmode, mut roots, mut kept) = (None, None, Vec::new());
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || percent_encoding::percent_decode_str(value).decode_utf8().context("`url` isn't UTF-8");
            match name {
                "sslmode" => sslmode = Some(value()?.into_owned()),
                "sslrootcert" => roots = Some(PathBuf::from(&*value()?)),
                _ => kept.push(pair),
            }
        }
        let rest = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
        Ok(Self { url: rest, sslmode, roots })
    }
}

fn in_authority(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// Returns why a URL can't be read. The causes of the error name a parameter, and its value at most if it isn't the password.
fn reason(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Whether a host is this machine: a Unix socket, or an address of the loopback interface.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback()),
    }
}

fn shown(config: &Config, schema: &str) -> String {
    let host = |host: &Host| match host {
        Host::Unix(path) => path.display().to_string(),
        Host::Tcp(name) => name.clone(),
    };
    let hosts: Vec<String> = config.get_hosts().iter().map(host).collect();
    let database = config.get_dbname().unwrap_or_default();
    format!("the schema {schema} of the database {database} on {}", hosts.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let place = PostgresPlace::new("postgres://me:se%40cret@db.example:5433/app", None, SCHEMA).unwrap();
        assert_eq!(place.to_string(), "the schema bennu of the database app on db.example");
        assert!(!format!("{place:?}").contains("cret"));
        let shown = PostgresPlace::new("postgres://me:secret@db/app?port=x", None, SCHEMA).unwrap_err();
        assert!(!format!("{shown:#}").contains("secret"), "{shown:#}");
    }

    #[test]
    fn a_password_in_a_url_is_found() {
        for (url, has) in [
            ("postgres://me@db/app", false),
            ("postgres://me:x@db/app", true),
            ("postgres://db/app?password=x", true),
            ("postgres://me:x@db/app?port=no", true),
            ("postgres://me:x@@/", true),
            ("postgres://db:5432/app", false),
        ] {
            assert_eq!(PostgresPlace::has_password(url), has, "{url}");
        }
    }

    #[test]
    fn a_wrong_address_is_refused_with_the_reason() {
        for (url, schema, expected) in [
            ("mysql://db/app", SCHEMA, "must begin with `postgres://`"),
            ("postgres:///app", SCHEMA, "names no host"),
            ("postgres://db", SCHEMA, "names no database"),
            ("postgres://db/app?nonsense=1", SCHEMA, "isn't a PostgreSQL URL"),
            ("postgres://db/app?sslmode=loud", SCHEMA, "`sslmode`"),
            ("postgres://db/app", "Bennu", "lower-case name"),
            ("postgres://db/app", "a;drop", "lower-case name"),
            ("postgres://db/app", "pg_x", "lower-case name"),
            ("postgres://db/app", "", "lower-case name"),
        ] {
            let error = format!("{:#}", PostgresPlace::new(url, None, schema).unwrap_err());
            assert!(error.contains(expected), "{url}: {error}");
        }
    }

    #[test]
    fn only_this_machine_is_reached_without_tls_by_default() {
        for (url, is_used) in [
            ("postgres://db.example/app", true),
            ("postgres://127.0.0.1/app", false),
            ("postgres://localhost/app", false),
            ("postgres://%2Frun%2Fpostgresql/app", false),
            ("postgres://localhost,db.example/app", true),
            ("postgres://db.example/app?sslmode=disable", false),
            ("postgres://127.0.0.1/app?sslmode=verify-full", true),
        ] {
            assert_eq!(PostgresPlace::new(url, None, SCHEMA).unwrap().tls().is_used(), is_used, "{url}");
        }
    }
}
