//! A client's request to connect, and the answer to it.

use std::net::SocketAddr;

use super::limits::check_size;
use super::{CallFuture, Fault, ObjectText};
use crate::protocol::{NAME_BYTES_MAX, read_object};

/// Names with values, in the order in which the client sent them.
pub type Headers = Box<[(Box<str>, Box<str>)]>;

/// The address that a client requested.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    /// `http` or `https`, as far as the host can tell.
    pub scheme: Box<str>,
    /// The host name in the request.
    pub host: Box<str>,
    /// The port in the request.
    pub port: u16,
    /// The path, such as `/socket/websocket`.
    pub path: Box<str>,
    /// The text after the question mark, not decoded.
    pub query: Box<str>,
}

/// A request to connect, as a gatekeeper reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path of the mount, such as `/socket`.
    pub mount: Box<str>,
    /// The transport: `websocket` or `longpoll`.
    pub transport: &'static str,
    /// The parameters of the request, a JSON object.
    pub params: Box<str>,
    /// All headers, with names in lower case.
    pub headers: Headers,
    /// The address from which the request comes.
    pub peer: SocketAddr,
    /// The address that the client requested.
    pub uri: Uri,
    /// The token that was sent separately from the parameters, if the mount accepts one.
    pub auth_token: Option<Box<str>>,
}

/// The identity of a socket. The default is that of an anonymous client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The id by which the socket can be disconnected, such as `user_socket:42`.
    pub socket_id: Option<Box<str>>,
    /// The user's id.
    pub user: Option<Box<str>>,
    /// Further facts about the client, a JSON object.
    pub claims: ObjectText,
}

/// The answer to a request to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The client may connect, with this identity.
    Granted(Identity),
    /// The client may not connect. It gets an HTTP status and a body.
    Refused {
        /// The HTTP status, from 400 to 599.
        status: u16,
        /// The text for the client.
        body: String,
    },
}

/// The maximum size of a socket's claims, and of the body that a refused client gets, in bytes.
const CLAIMS_BYTES_MAX: usize = 16 << 10;

impl Admission {
    /// Checks a gatekeeper's decision, and returns it unchanged.
    ///
    /// # Errors
    /// Returns a [`Fault`] if an id is too long, if the claims are too large or not a JSON object, or if the status
    /// is not between 400 and 599.
    pub fn checked(self) -> Result<Self, Fault> {
        match &self {
            Self::Granted(identity) => identity.check()?,
            Self::Refused { status, .. } if !(400..600).contains(status) => {
                return Err(Fault::failed(format!("the status of a refusal must be from 400 to 599, not {status}")));
            }
            Self::Refused { body, .. } => check_size("a refusal's body", body.len(), CLAIMS_BYTES_MAX, None)?,
        }
        Ok(self)
    }
}

impl Identity {
    /// The name of the user whose limits concern the client.
    #[must_use]
    pub fn limited_as(&self) -> Option<&str> {
        self.user.as_deref().or(self.socket_id.as_deref())
    }

    /// Checks its names. The API ends users and sockets by names of at most so many bytes.
    ///
    /// # Errors
    /// Fault: oversize.
    pub fn check_names(&self) -> Result<(), Fault> {
        for (what, text) in [("a socket's id", &self.socket_id), ("a user", &self.user)] {
            check_size(what, text.as_ref().map_or(0, |text| text.len()), NAME_BYTES_MAX, None)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Fault> {
        self.check_names()?;
        check_size("claims", self.claims.len(), CLAIMS_BYTES_MAX, None)?;
        read_object(&self.claims)
            .map(drop)
            .map_err(|error| Fault::failed(format!("the claims of an identity must be a JSON object: {error}")))
    }
}

/// The code that decides whether a client may connect: a wasm component, or a scripted gatekeeper in tests.
pub trait Gatekeeper: Send + Sync {
    /// Decides about one request. A fault refuses the request.
    fn connect(&self, request: Request) -> CallFuture<'_, Admission>;

    /// Returns the plugin's name and its generation, for the log.
    fn origin(&self) -> (&str, u32) {
        ("", 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_decision_is_a_fault() {
        let granted = |socket_id: &str, claims: &str| {
            let socket_id = Some(socket_id.into());
            Admission::Granted(Identity { socket_id, user: None, claims: claims.into() }).checked().is_ok()
        };
        assert!(granted("user_socket:1", "{\"role\":\"admin\"}"));
        assert!(!granted(&"x".repeat(256), "{}"));
        assert!(!granted("", "[]"));
        assert!(!granted("", "{"));
        // The checked claims must stay readable: they are parsed again later.
        assert!(!granted("", r#"{"n":1e999}"#) && !granted("", r#"{"s":"\ud800"}"#));
        assert!(!granted("", &format!("{{\"a\":\"{}\"}}", "x".repeat(CLAIMS_BYTES_MAX))));
        for (status, is_sane) in [(400, true), (599, true), (399, false), (600, false)] {
            assert_eq!(Admission::Refused { status, body: String::new() }.checked().is_ok(), is_sane, "{status}");
        }
    }
}
