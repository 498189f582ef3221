//! A client that has connected, on its way from the handshake to a reactor.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::ConnectionSettings;
use crate::socket::Socket;
use crate::transport::mount::ConnectionPermit;

/// The origin of a page. It is boxed twice, because a pointer to a text has two words, and each connection would have both.
pub(super) type Origin = Box<Box<str>>;

/// A client that has connected, on its way to a reactor.
pub(in crate::transport) struct Arrival {
    pub(super) stream: std::net::TcpStream,
    /// The bytes that the client has already sent after its request.
    pub(super) received: Bytes,
    pub(super) socket: Socket,
    pub(super) settings: Arc<ConnectionSettings>,
    /// Whether compression was negotiated.
    pub(super) deflates: bool,
    /// The origin of the page, if the client is a browser.
    pub(super) origin: Option<Origin>,
    pub(super) permits: Permits,
}

/// The permits of an open connection: one for a socket, and one for an HTTP connection.
pub(super) struct Permits {
    pub(super) _socket: ConnectionPermit,
    pub(super) _connection: Option<OwnedSemaphorePermit>,
}
