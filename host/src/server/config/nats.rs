//! The NATS servers that carry the messages between the nodes of a cluster.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use bennu_cluster::client_tls;
use bennu_cluster::nats::{NatsLogin, NatsPlace, NatsTls};
use serde::Deserialize;

use super::ServiceUrl;
use crate::auth::SecretSource;

/// The table `cluster.bus`, if the bus is NATS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsTable {
    /// The servers: `"nats://HOST:PORT"` or `"tls://HOST:PORT"`, several with commas between them; or `{ env = "NAME" }` or
    /// `{ file = "PATH" }`. A login isn't part of it.
    pub nats: ServiceUrl,
    /// The name of the user who logs in with `password`.
    pub user: Option<String>,
    /// The password of `user`: `{ env = "NAME" }` or `{ file = "PATH" }`.
    pub password: Option<SecretSource>,
    /// A token, in place of a user: `{ env = "NAME" }` or `{ file = "PATH" }`.
    pub token: Option<SecretSource>,
    /// A credentials file as `nsc generate creds` writes it: `{ file = "PATH" }` or `{ env = "NAME" }` with its contents.
    pub credentials: Option<SecretSource>,
    /// Whether connections are encrypted. Default: to other machines, and if an address begins with `tls://`.
    pub tls: Option<bool>,
    /// A file with the certificates of the authorities that are trusted, in PEM. Default: those of the operating system.
    pub tls_roots: Option<PathBuf>,
}

impl NatsTable {
    pub(super) fn check(&self) -> Result<()> {
        let Self { nats, user, password, token, credentials, tls, tls_roots } = self;
        if let ServiceUrl::Written(urls) = nats {
            NatsPlace::needs_tls(urls).map_err(|why| anyhow!(why)).context("`cluster.bus.nats`")?;
        }
        for (key, source) in [("password", password), ("token", token), ("credentials", credentials)] {
            if let Some(source) = source {
                source.check().with_context(|| format!("`cluster.bus.{key}`"))?;
            }
        }
        ensure!(
            user.is_some() == password.is_some(),
            "`cluster.bus.user` and `cluster.bus.password` are given together, or neither of them"
        );
        let logins = [user.is_some(), token.is_some(), credentials.is_some()].into_iter().filter(|is| *is).count();
        ensure!(
            logins <= 1,
            "`cluster.bus` has {logins} logins; give `user` and `password`, or `token`, or `credentials`"
        );
        ensure!(
            *tls != Some(false) || tls_roots.is_none(),
            "`cluster.bus.tls` is false, so `cluster.bus.tls_roots` has no use"
        );
        Ok(())
    }

    /// Returns where the servers are. Reads secrets and certificates.
    ///
    /// # Errors
    /// If they can't be read, or an address is wrong.
    pub fn place(&self, beside: &Path) -> Result<NatsPlace> {
        let text = |key: &str, source: &SecretSource| -> Result<String> {
            let read = source.read(beside).and_then(|secret| Ok(secret.expose()?.trim().to_owned()));
            read.with_context(|| format!("`cluster.bus.{key}` can't be used"))
        };
        let urls = self.nats.read(beside).context("`cluster.bus.nats` can't be used")?;
        let login = match (&self.user, &self.password, &self.token, &self.credentials) {
            (Some(name), Some(password), ..) => {
                NatsLogin::User { name: name.clone(), password: text("password", password)? }
            }
            (.., Some(token), _) => NatsLogin::Token(text("token", token)?),
            (.., Some(credentials)) => NatsLogin::Credentials(text("credentials", credentials)?),
            _ => NatsLogin::None,
        };
        let refused = |why: String| anyhow!(why).context("`cluster.bus` can't be used");
        let needs_tls = NatsPlace::needs_tls(&urls).map_err(refused)?;
        let tls = if self.tls.unwrap_or(needs_tls || self.tls_roots.is_some()) {
            let roots = self.tls_roots.as_ref().map(|path| beside.join(path));
            NatsTls::Required(client_tls(roots.as_deref()).context("`cluster.bus.tls_roots` can't be used")?)
        } else {
            NatsTls::Off
        };
        NatsPlace::new(&urls, login, tls).map_err(refused)
    }

    /// The secrets, with the names of their keys.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (&'static str, &SecretSource)> {
        let nats = match &self.nats {
            ServiceUrl::Secret(source) => Some(source),
            ServiceUrl::Written(_) => None,
        };
        let named = [
            ("cluster.bus.nats", nats),
            ("cluster.bus.password", self.password.as_ref()),
            ("cluster.bus.token", self.token.as_ref()),
            ("cluster.bus.credentials", self.credentials.as_ref()),
        ];
        named.into_iter().filter_map(|(key, source)| Some((key, source?)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn table(text: &str) -> NatsTable {
        toml::from_str(text).unwrap()
    }

    fn error(text: &str) -> String {
        format!("{:#}", table(text).check().unwrap_err())
    }

    #[test]
    fn a_login_is_one_of_three() {
        let env = "{ env = \"A\" }";
        for logins in ["", "user = \"me\"\npassword = ENV", "token = ENV", "credentials = ENV"] {
            table(&format!("nats = \"nats://h\"\n{logins}").replace("ENV", env)).check().unwrap();
        }
        for (keys, expected) in [
            ("user = \"me\"", "given together"),
            ("password = ENV", "given together"),
            ("token = ENV\ncredentials = ENV", "has 2 logins"),
            ("user = \"me\"\npassword = ENV\ntoken = ENV", "has 2 logins"),
            ("tls = false\ntls_roots = \"ca.pem\"", "has no use"),
        ] {
            let said = error(&format!("nats = \"nats://h\"\n{keys}").replace("ENV", env));
            assert!(said.contains(expected), "{keys}: {said}");
        }
    }

    #[test]
    fn a_secret_is_never_written_in_the_file_or_shown() {
        for text in [
            "nats = \"nats://me:hunter2@h\"",
            "nats = \"nats://hunter2@h\"",
            "nats = \"http://me:hunter2@h\"",
            "nats = \"nats://h\"\nuser = \"me\"\npassword = \"hunter2\"",
            "nats = \"nats://h\"\ntoken = \"hunter2\"",
        ] {
            let said = error(text);
            assert!(said.contains("`cluster.bus.") && !said.contains("hunter2"), "{said}");
            assert!(!format!("{:?}", table(text)).contains("hunter2"));
        }
    }

    #[test]
    fn other_machines_are_reached_by_tls() {
        let home = tempfile::tempdir().unwrap();
        let place = |text: &str| table(text).place(home.path());
        assert_eq!(place("nats = \"nats://127.0.0.1\"").unwrap().to_string(), "NATS on 127.0.0.1:4222");
        place("nats = \"nats://nats.example\"\ntls = false").unwrap();
        // With TLS, the certificates are read.
        let missing = format!("{:#}", place("nats = \"nats://nats.example\"\ntls_roots = \"ca.pem\"").unwrap_err());
        assert!(missing.contains("ca.pem"), "{missing}");
        let off = format!("{:#}", place("nats = \"tls://127.0.0.1\"\ntls = false").unwrap_err());
        assert!(off.contains("TLS is turned off"), "{off}");
    }
}
