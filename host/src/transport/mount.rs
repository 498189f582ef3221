//! Mounts: the paths at which clients connect, each with its own manners.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::auth::Origins;
use crate::socket::Endpoint;

use super::Reactors;
use super::authenticator::Authenticator;

/// The limits of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireLimits {
    /// Bytes of a message, in however many frames. Past it the connection is closed with 1009.
    pub frame_bytes: usize,
    /// Bytes of the largest payload that a frame to a client can carry.
    pub frame_bytes_out: usize,
    /// How long a client may be silent, or take nothing of what waits for it. Past it the connection is closed, with 1002
    /// or 1013.
    pub idle: Duration,
    /// How long a poll waits for something to say, and a batch for being handled. A session that nobody polls for longer
    /// than one and a half of it ends.
    pub poll_window: Duration,
}

/// A path, and who may connect there, how.
pub struct Mount {
    /// Such as `/socket`.
    pub path: String,
    /// Whether `PATH/websocket` is there.
    pub websocket: bool,
    /// Whether `PATH/longpoll` is there.
    pub longpoll: bool,
    /// Whose pages may connect.
    pub origins: Origins,
    /// The subprotocols that are spoken, the dearest first.
    pub subprotocols: Vec<String>,
    /// Whether a token may come apart from the parameters.
    pub auth_token: bool,
    /// Who may connect.
    pub authenticator: Authenticator,
    /// What their sockets share.
    pub endpoint: Endpoint,
    /// The limits of the wire.
    pub limits: WireLimits,
    /// How many sockets the host may have.
    pub gate: Arc<ConnectionLimit>,
    /// Who serves those that connect by WebSocket.
    pub reactors: Arc<Reactors>,
}

/// The count of all sockets of the host.
#[derive(Debug)]
pub struct ConnectionLimit {
    /// Sockets that may be open. Past it a request is answered with HTTP 503.
    most: usize,
    /// Sockets that are open or on their way to it.
    open: AtomicUsize,
}

impl ConnectionLimit {
    /// A gate for so many that nobody has passed yet.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: AtomicUsize::new(0) })
    }

    /// Lets one more socket in, if there is room.
    pub(super) fn acquire(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        let entered = ConnectionPermit(Arc::clone(self));
        (before < self.most).then_some(entered)
    }
}

/// A socket that counts as open until this is dropped.
pub(super) struct ConnectionPermit(Arc<ConnectionLimit>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
