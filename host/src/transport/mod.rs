//! How clients reach the host: axum, and a WebSocket for each of them.
//!
//! A transport moves bytes: it brings a socket's frames in and writes its outbox. What they mean is decided elsewhere.

mod connect;
mod files;
mod inspect;
mod listen;
mod params;
mod websocket;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get};

use crate::socket::Endpoint;

pub use files::StaticFiles;
pub use inspect::Overview;
pub use listen::listen;

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
    /// Sockets that may be open. Past it a request is answered with HTTP 503.
    pub sockets: usize,
}

/// What the routes share.
pub struct Gate {
    /// Where clients connect.
    pub endpoint: Endpoint,
    /// The limits of the wire.
    pub limits: WireLimits,
    /// What `bennu inspect` shows.
    pub overview: Box<dyn Overview>,
    /// Sockets that are open or on their way to it.
    open: AtomicUsize,
}

impl Gate {
    /// A gate that nobody has passed yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, limits: WireLimits, overview: Box<dyn Overview>) -> Arc<Self> {
        Arc::new(Self { endpoint, limits, overview, open: AtomicUsize::new(0) })
    }

    /// Lets one more socket in, if there is room.
    fn enter(self: &Arc<Self>) -> Option<Entered> {
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        let entered = Entered(Arc::clone(self));
        (before < self.limits.sockets).then_some(entered)
    }
}

/// A socket that counts as open until this is dropped.
struct Entered(Arc<Gate>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The routes: the socket's mount, the host's own page for operators, and static files behind them.
pub fn router(gate: Arc<Gate>, files: Option<StaticFiles>) -> Router {
    let router = Router::new()
        .route("/socket/websocket", any(websocket::connect))
        .route("/api/inspect", get(inspect::inspect))
        .with_state(gate);
    match files {
        Some(files) => router.fallback_service(files.service()),
        None => router,
    }
}
