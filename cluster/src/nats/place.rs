//! Where a NATS server is, and how a node logs in.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_nats::rustls::ClientConfig;
use async_nats::{ConnectOptions, ServerAddr};

/// How a node proves who it is.
#[derive(Clone)]
pub enum NatsLogin {
    /// It doesn't.
    None,
    /// By name and password.
    User {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// By a token.
    Token(String),
    /// By the contents of a credentials file: a JWT and the seed of its key.
    Credentials(String),
}

/// Whether connections are encrypted.
#[derive(Clone)]
pub enum NatsTls {
    /// Not, unless the server demands it.
    Off,
    /// Always. The server's certificate is checked as this says.
    Required(Arc<ClientConfig>),
}

/// One or several servers of one NATS cluster. Cheap to clone.
#[derive(Clone)]
pub struct NatsPlace {
    servers: Arc<[ServerAddr]>,
    login: NatsLogin,
    tls: NatsTls,
}

impl NatsPlace {
    /// Reads addresses: `nats://HOST:PORT` or `tls://HOST:PORT`, with commas between them.
    ///
    /// # Errors
    /// If an address or the credentials are wrong. The text has no secret in it.
    pub fn new(urls: &str, login: NatsLogin, tls: NatsTls) -> Result<Self, String> {
        let place = Self { servers: servers(urls)?.into(), login, tls };
        if matches!(place.tls, NatsTls::Off) && place.servers.iter().any(ServerAddr::tls_required) {
            return Err("the address of NATS begins with `tls://`, and TLS is turned off".into());
        }
        if let NatsLogin::Credentials(text) = &place.login {
            ConnectOptions::new().credentials(text).map_err(|error| {
                format!("the credentials of NATS aren't those that `nsc generate creds` writes: {error}")
            })?;
        }
        Ok(place)
    }

    /// Whether connections to these addresses need TLS: an address begins with `tls://`, or a server isn't on this machine, so that
    /// others could read what is sent.
    ///
    /// # Errors
    /// If an address is wrong. The text has no secret in it.
    pub fn needs_tls(urls: &str) -> Result<bool, String> {
        Ok(servers(urls)?.iter().any(|server| server.tls_required() || !is_local(server)))
    }

    pub(super) fn servers(&self) -> Vec<ServerAddr> {
        self.servers.to_vec()
    }

    /// The options that come from here.
    pub(super) fn options(&self) -> Result<ConnectOptions, String> {
        let options = ConnectOptions::new();
        let options = match &self.login {
            NatsLogin::None => options,
            NatsLogin::User { name, password } => options.user_and_password(name.clone(), password.clone()),
            NatsLogin::Token(token) => options.token(token.clone()),
            NatsLogin::Credentials(text) => options.credentials(text).map_err(|error| error.to_string())?,
        };
        Ok(match &self.tls {
            NatsTls::Off => options,
            NatsTls::Required(config) => options.require_tls(true).tls_client_config(config.as_ref().clone()),
        })
    }
}

fn servers(urls: &str) -> Result<Vec<ServerAddr>, String> {
    urls.split(',').map(|url| server(url.trim())).collect()
}

/// Whether a server is on this machine.
fn is_local(server: &ServerAddr) -> bool {
    server.host() == "localhost" || server.host().parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn server(url: &str) -> Result<ServerAddr, String> {
    let server = read(url)?;
    if server.has_user_pass() {
        return Err("an address of NATS has no user, password or token in it: they are given apart from it".into());
    }
    Ok(server)
}

fn read(url: &str) -> Result<ServerAddr, String> {
    let is_known = url.starts_with("nats://") || url.starts_with("tls://");
    // The text may have a password in it.
    let read = if is_known { url.parse().ok() } else { None };
    read.filter(|server: &ServerAddr| !server.host().is_empty()).ok_or_else(|| {
        "an address of NATS must be `nats://HOST:PORT` or `tls://HOST:PORT`; several have commas between them".into()
    })
}

impl fmt::Display for NatsPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> =
            self.servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
        write!(formatter, "NATS on {}", shown.join(", "))
    }
}

impl fmt::Debug for NatsPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("NatsPlace").field(&self.to_string()).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_without_secrets() {
        let place = |urls: &str| NatsPlace::new(urls, NatsLogin::None, NatsTls::Off);
        let two = place("nats://db.example:4223, nats://[::1]").unwrap();
        assert_eq!(two.to_string(), "NATS on db.example:4223, ::1:4222");
        for url in ["nats://me:hunter2@localhost", "nats://hunter2@localhost"] {
            let refused = place(url).unwrap_err();
            assert!(refused.contains("they are given apart") && !refused.contains("hunter2"), "{refused}");
        }
        for (urls, needs_tls) in [
            ("nats://127.0.0.1", false),
            ("nats://localhost:4222", false),
            ("nats://[::1]:4222", false),
            ("tls://127.0.0.1", true),
            ("nats://127.0.0.1,nats://10.0.0.1", true),
            ("nats://localhost.example", true),
        ] {
            assert_eq!(NatsPlace::needs_tls(urls), Ok(needs_tls), "{urls}");
        }
        for urls in ["", "nats://", "localhost", "http://me:hunter2@x", "ws://x", "nats://x,", "nats://me:hunter2@x:y"]
        {
            let refused = place(urls).unwrap_err();
            assert!(
                refused.contains("must be `nats://HOST:PORT`") && !refused.contains("hunter2"),
                "{urls}: {refused}"
            );
        }
        assert!(place("tls://x").unwrap_err().contains("TLS is turned off"));
    }

    #[test]
    fn credentials_are_read_at_once() {
        let login = NatsLogin::Credentials("no such thing".into());
        let refused = NatsPlace::new("nats://localhost", login, NatsTls::Off).unwrap_err();
        assert!(refused.contains("nsc generate creds") && !refused.contains("no such thing"), "{refused}");
    }
}
