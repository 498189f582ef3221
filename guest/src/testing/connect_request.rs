//! A client's request to connect, which a gatekeeper decides.

use serde::Serialize;

use bennu_world::{CallContext, HostFacts};

use super::recorder;
use super::setup::{failure, response, store, text};
use crate::bindings::request::{Address, Location};
use crate::gatekeeper::{Connect, Gatekeeper, Request};

/// The values of a request that a gatekeeper can read.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) mount: String,
    pub(super) transport: String,
    pub(super) params: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) peer: Address,
    pub(super) uri: Location,
    pub(super) auth_token: Option<String>,
}

/// A client's request to connect, for the test of a gatekeeper.
///
/// By default it comes from `127.0.0.1` to the WebSocket of `/socket`, without parameters, headers and token.
#[derive(Clone, Debug)]
#[must_use]
pub struct ConnectRequest {
    host: HostFacts,
    asked: Asked,
}

impl Default for ConnectRequest {
    fn default() -> Self {
        let uri = Location {
            scheme: "http".into(),
            host: "localhost".into(),
            port: 4000,
            path: "/socket/websocket".into(),
            query: String::new(),
        };
        let asked = Asked {
            mount: "/socket".into(),
            transport: "websocket".into(),
            params: "{}".into(),
            headers: Vec::new(),
            peer: Address { ip: "127.0.0.1".into(), port: 50_000 },
            uri,
            auth_token: None,
        };
        Self { host: HostFacts::default(), asked }
    }
}

impl ConnectRequest {
    /// A client with the default values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the parameters.
    pub fn params(mut self, params: impl Serialize) -> Self {
        self.asked.params = text(&params);
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.asked.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Sets its IP address.
    pub fn peer(mut self, ip: &str) -> Self {
        self.asked.peer.ip = ip.into();
        self
    }

    /// Sets the mount and the transport.
    pub fn at(mut self, mount: &str, transport: &str) -> Self {
        self.asked.uri.path = format!("{mount}/{transport}");
        (self.asked.mount, self.asked.transport) = (mount.into(), transport.into());
        self
    }

    /// Sets the token, which is separate from the parameters.
    pub fn auth_token(mut self, token: &str) -> Self {
        self.asked.auth_token = Some(token.into());
        self
    }

    /// Sets the gatekeeper's configuration.
    pub fn config(mut self, config: impl Serialize) -> Self {
        self.host.configuration = text(&config);
        self
    }

    /// Stores a value under a key, for the gatekeeper to read.
    ///
    /// # Panics
    ///
    /// If it can't be stored.
    pub fn store(mut self, key: impl AsRef<[u8]>, value: impl Serialize) -> Self {
        store(&mut self.host, key.as_ref(), &value);
        self
    }

    /// Sets the answer to each request with this method and URL: a status and a JSON body. Any other request fails with
    /// `unreachable`.
    pub fn http(mut self, method: &str, url: &str, status: u16, body: impl Serialize) -> Self {
        self.host.http.set(method, url, Ok(response(status, &body)));
        self
    }

    /// Each request with this method and URL fails, for example with the kind `timeout`.
    pub fn http_failure(mut self, method: &str, url: &str, kind: &str) -> Self {
        self.host.http.set(method, url, Err(failure(kind)));
        self
    }

    /// Sets the clock: milliseconds since 1970.
    pub fn now(mut self, milliseconds: u64) -> Self {
        self.host.now = milliseconds;
        self
    }

    /// Calls a gatekeeper.
    ///
    /// # Errors
    ///
    /// The answer to a refused client.
    ///
    /// # Panics
    ///
    /// If a host would end the call with a fault.
    #[track_caller]
    pub fn connect<G: Gatekeeper>(self) -> Connect {
        let Self { host, asked } = self;
        let mut context = CallContext::connecting(host);
        let verdict = recorder::run_about(asked, &mut context, || G::connect(&Request(())));
        verdict.unwrap_or_else(|fault| panic!("the gatekeeper ended in a fault: {fault}"))
    }
}
