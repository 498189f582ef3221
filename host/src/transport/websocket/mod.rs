//! The WebSocket transport.
//!
//! axum answers the request that opens a connection. After that, a [`Reactor`](reactor::Reactor) serves the connection: a
//! thread with many connections. A task for each connection would cost more than the connection's work:
//! `docs/performance.md` has the figures.

mod arrival;
mod connection;
mod extensions;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod handshake;
mod inflate;
mod large_frames;
mod reactor;
mod reactor_handle;
mod reactor_probe;
mod reactors;
mod reader;
mod received;
mod scratch;
mod sending;
mod shared_inbox;
mod unsent;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use hyper::upgrade::Parts;
use hyper_util::rt::TokioIo;

use self::arrival::{Arrival, Origin, Permits};
use self::handshake::{Handshake, agree};
use self::large_frames::LargeFrames;
use super::authenticator::Rejection;
use super::connect::{Admitted, Transport, origin_of};
use super::listen::HttpPermit;
use super::mount::{Mount, WireLimits};
use super::stream::TrackedStream;
use crate::protocol::CloseCode;
use crate::socket::{Reason, Tally};

#[cfg(test)]
pub(crate) use reactor_handle::Fault;
pub use reactors::{ReactorProbe, Reactors};

/// The state of the route for WebSocket connections of a mount.
pub(super) struct MountState {
    mount: Arc<Mount>,
    settings: Arc<ConnectionSettings>,
}

/// The settings of a mount that its connections need. Connections don't refer to the mount itself, because the mount owns
/// the reactors, and the reactors own the connections. That would be a cycle.
pub(in crate::transport) struct ConnectionSettings {
    pub(in crate::transport) path: String,
    pub(in crate::transport) limits: WireLimits,
    pub(in crate::transport) tally: Arc<Tally>,
    large_frames: Arc<LargeFrames>,
}

impl MountState {
    pub(super) fn new(mount: &Arc<Mount>) -> Arc<Self> {
        let tally = Arc::clone(&mount.endpoint.sockets.tally);
        let large_frames = Arc::clone(mount.reactors.large_frames());
        let settings =
            Arc::new(ConnectionSettings { path: mount.path.clone(), limits: mount.limits, tally, large_frames });
        Arc::new(Self { mount: Arc::clone(mount), settings })
    }
}

/// Returns the route of one mount for WebSocket connections, for a router without other mounts.
pub fn websocket_router(mount: &Arc<Mount>) -> Router {
    Router::new().route(&format!("{}/websocket", mount.path), any(connect).with_state(MountState::new(mount)))
}

/// Answers a connect request. The checks are in Phoenix's order: the method, then whether the client may connect, and then
/// the headers of the upgrade.
pub(super) async fn connect(
    State(state): State<Arc<MountState>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let mount = &state.mount;
    if request.method() != Method::GET {
        mount.note_refused(Reason::BadUpgrade, request.headers(), peer);
        return StatusCode::BAD_REQUEST.into_response();
    }
    let (mut parts, _) = request.into_parts();
    let admitted = match mount.admit(&parts, peer, Transport::WebSocket).await {
        Ok(admitted) => admitted,
        Err(rejection) => {
            mount.note_refused(rejection.reason(), &parts.headers, peer);
            return rejection.response();
        }
    };
    let handshake = match Handshake::of(&mut parts, mount.compress) {
        Ok(handshake) => handshake,
        Err(error) => {
            mount.note_refused(Reason::BadUpgrade, &parts.headers, peer);
            return error.into_response();
        }
    };
    let Some(permit) = mount.gate.acquire() else {
        mount.note_refused(Reason::SocketLimit, &parts.headers, peer);
        return Rejection::Full.response();
    };
    let answer = agree(&handshake, admitted.protocol.as_deref());
    // The host answers no further request on this connection.
    let connection = parts.extensions.get::<Arc<HttpPermit>>().and_then(|permit| permit.take());
    let permits = Permits { _socket: permit, _connection: connection };
    let origin = page(&parts.headers);
    // Boxed for the same reason as the task of the HTTP connection.
    tokio::spawn(Box::pin(async move {
        if let Err(error) = shared_inbox(&state, handshake, admitted, (origin, permits)).await {
            tracing::debug!("a connection was lost during its upgrade: {error:#}");
        }
    }));
    answer
}

/// Waits until the answer is written, and hands the connection to a reactor.
async fn shared_inbox(
    state: &MountState,
    handshake: Handshake,
    admitted: Admitted,
    (origin, permits): (Option<Origin>, Permits),
) -> Result<()> {
    let deflates = handshake.deflates();
    let upgraded = handshake.upgrade.await?.downcast::<TokioIo<TrackedStream>>();
    let Parts { io, read_buf: received, .. } = upgraded.ok().context("it isn't a stream that the host accepted")?;
    let stream = io.into_inner().into_stream().into_std()?;
    let MountState { mount, settings } = state;
    let socket = mount.endpoint.connect(admitted.facts, admitted.serializer);
    if !mount.authenticator.still_admits(socket.identity()) {
        socket.outbox().close(CloseCode::GoingAway);
    }
    let socket = if deflates { socket.with_deflate() } else { socket };
    let settings = Arc::clone(settings);
    mount.reactors.admit(Arrival { stream, received, socket, settings, deflates, origin, permits });
    Ok(())
}

/// Returns the origin of the page that connects. It is for the log, in case the host closes the connection. A longer value
/// than an origin can have isn't kept: an origin is a scheme, a name of at most 255 bytes, and a port.
fn page(headers: &HeaderMap) -> Option<Origin> {
    const BYTES_MAX: usize = 300;
    origin_of(headers).filter(|origin| origin.len() <= BYTES_MAX).map(|origin| Box::new(origin.into()))
}
