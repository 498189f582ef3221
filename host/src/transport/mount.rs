//! Mounts: the paths at which clients connect, each with its own settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::auth::Origins;
use crate::protocol::Dialect;
use crate::socket::Endpoint;

use super::Reactors;
use super::authenticator::Authenticator;

/// The limits of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireLimits {
    /// Bytes of a client's message, in one or several WebSocket frames. If it is longer, the connection is closed with 1009.
    pub frame_bytes: usize,
    /// How long a client may send nothing, or take no bytes while frames wait for it. After that, the connection is closed
    /// with 1002 or 1013.
    pub idle: Duration,
    /// How long a poll waits for frames, and how long a POST waits for its messages to be received. A session ends if it
    /// isn't polled for one and a half times this long.
    pub poll_window: Duration,
}

/// A path at which clients connect, and its settings.
pub struct Mount {
    /// Such as `/socket`.
    pub path: String,
    /// Whether `PATH/websocket` is there.
    pub websocket: bool,
    /// Whether `PATH/longpoll` is there.
    pub longpoll: bool,
    /// The origins whose pages may connect.
    pub origins: Origins,
    /// The supported subprotocols, the preferred one first.
    pub subprotocols: Vec<String>,
    /// The clients that the mount is for.
    pub dialect: Dialect,
    /// Whether clients may negotiate compression (permessage-deflate).
    pub compress: bool,
    /// Whether a token may come in a header instead of a connect parameter.
    pub auth_token: bool,
    /// Decides which clients may connect.
    pub authenticator: Authenticator,
    /// The part of the host that the mount's sockets share.
    pub endpoint: Endpoint,
    /// The limits of a connection.
    pub limits: WireLimits,
    /// Limits the sockets of the host.
    pub gate: Arc<ConnectionLimit>,
    /// The threads that serve WebSocket connections.
    pub reactors: Arc<Reactors>,
}

/// Limits the number of sockets of the host.
#[derive(Debug)]
pub struct ConnectionLimit {
    /// The most sockets. If there are as many, a connect request is answered with HTTP 503.
    most: usize,
    /// Sockets that are open or about to open.
    open: AtomicUsize,
}

impl ConnectionLimit {
    /// Creates a limit of this many sockets.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: AtomicUsize::new(0) })
    }

    /// Returns a permit for one more socket, or none if the limit is reached.
    pub(super) fn acquire(self: &Arc<Self>) -> Option<ConnectionPermit> {
        // The socket is counted before the check, so that two requests can't both take the last permit. A permit that isn't
        // granted is dropped, and that corrects the count. AcqRel pairs this with the decrement in the permit's `drop`.
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        let permit = ConnectionPermit(Arc::clone(self));
        (before < self.most).then_some(permit)
    }
}

/// Counts one socket as open until it is dropped.
pub(super) struct ConnectionPermit(Arc<ConnectionLimit>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
