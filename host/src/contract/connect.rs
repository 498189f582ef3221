//! What a client that connects shows, and what it is granted.

use std::net::SocketAddr;

use super::Calling;

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
pub enum Verdict {
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

/// What decides who may connect: a wasm component, or a scripted one in tests.
pub trait Gatekeeper: Send + Sync {
    /// Decides about one request. A fault refuses it.
    fn connect(&self, request: Request) -> Calling<'_, Verdict>;
}
