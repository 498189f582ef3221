//! What a client that connects shows, and what it is granted.

use std::net::SocketAddr;

use super::{CallFuture, Fault};
use crate::protocol::{NAME_BYTES_MAX, read_object};

/// Names with values, in the order sent.
pub type Headers = Box<[(Box<str>, Box<str>)]>;

/// The address that a client asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    /// `http` or `https`, as far as the host itself knows.
    pub scheme: Box<str>,
    /// The name that the client called.
    pub host: Box<str>,
    /// The port that it called.
    pub port: u16,
    /// Such as `/socket/websocket`.
    pub path: Box<str>,
    /// What stands behind the question mark, undecoded.
    pub query: Box<str>,
}

/// A request to connect, as a gatekeeper reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path at which the client knocks, such as `/socket`.
    pub mount: Box<str>,
    /// `websocket` or `longpoll`.
    pub transport: &'static str,
    /// The parameters of the request, a JSON object.
    pub params: Box<str>,
    /// All headers, names in lower case.
    pub headers: Headers,
    /// Where the request comes from.
    pub peer: SocketAddr,
    /// What it asks for.
    pub uri: Uri,
    /// The token that came apart from the parameters, where the mount takes one.
    pub auth_token: Option<Box<str>>,
}

/// Who a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The id by which it can be disconnected, such as `user_socket:42`.
    pub socket_id: Option<Box<str>>,
    /// The user.
    pub user: Option<Box<str>>,
    /// What else is known of it, a JSON object.
    pub claims: Box<str>,
}

/// Nobody in particular.
impl Default for Identity {
    fn default() -> Self {
        Self { socket_id: None, user: None, claims: "{}".into() }
    }
}

/// The answer to a request to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The client is let in.
    Granted(Identity),
    /// It is not, with an HTTP status and a body.
    Refused {
        /// From 400 to 599.
        status: u16,
        /// Text for the client.
        body: String,
    },
}

/// The most bytes of the text of a socket's claims, and of what a refused client is told.
const CLAIMS_BYTES_MAX: usize = 16 << 10;

impl Admission {
    /// Itself, if what a gatekeeper said makes sense.
    ///
    /// # Errors
    /// [`Fault`] where an id is too long, the claims are too large or no JSON object, or the status is none of an error.
    pub fn checked(self) -> Result<Self, Fault> {
        match &self {
            Self::Granted(identity) => identity.check()?,
            Self::Refused { status, .. } if !(400..600).contains(status) => {
                return Err(Fault::failed(format!("a refusal has a status from 400 to 599, not {status}")));
            }
            Self::Refused { body, .. } => check_size("a refusal's body", body.len(), CLAIMS_BYTES_MAX)?,
        }
        Ok(self)
    }
}

impl Identity {
    fn check(&self) -> Result<(), Fault> {
        for (what, text) in [("a socket's id", &self.socket_id), ("a user", &self.user)] {
            check_size(what, text.as_ref().map_or(0, |text| text.len()), NAME_BYTES_MAX)?;
        }
        check_size("claims", self.claims.len(), CLAIMS_BYTES_MAX)?;
        read_object(&self.claims)
            .map(drop)
            .map_err(|error| Fault::failed(format!("the claims of an identity are a JSON object: {error}")))
    }
}

fn check_size(what: &str, bytes: usize, most: usize) -> Result<(), Fault> {
    if bytes > most {
        return Err(Fault::oversize(format!("{what} of {bytes} bytes; the limit is {most}")));
    }
    Ok(())
}

/// What decides who may connect: a wasm component, or a scripted one in tests.
pub trait Gatekeeper: Send + Sync {
    /// Decides about one request. A fault refuses it.
    fn connect(&self, request: Request) -> CallFuture<'_, Admission>;

    /// The plugin that it is, and its generation, for the log.
    fn origin(&self) -> (&str, u32) {
        ("", 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_that_makes_no_sense_is_a_fault() {
        let granted = |socket_id: &str, claims: &str| {
            let socket_id = Some(socket_id.into());
            Admission::Granted(Identity { socket_id, user: None, claims: claims.into() }).checked().is_ok()
        };
        assert!(granted("user_socket:1", "{\"role\":\"admin\"}"));
        assert!(!granted(&"x".repeat(256), "{}"));
        assert!(!granted("", "[]"));
        assert!(!granted("", "{"));
        // Whoever reads claims later must be able to.
        assert!(!granted("", r#"{"n":1e999}"#) && !granted("", r#"{"s":"\ud800"}"#));
        assert!(!granted("", &format!("{{\"a\":\"{}\"}}", "x".repeat(CLAIMS_BYTES_MAX))));
        for (status, is_sane) in [(400, true), (599, true), (399, false), (600, false)] {
            assert_eq!(Admission::Refused { status, body: String::new() }.checked().is_ok(), is_sane, "{status}");
        }
    }
}
