//! The WebSocket transport.
//!
//! axum answers the request that opens a connection; from then on a [`Reactor`](reactor::Reactor) serves it, a thread with many
//! of them. A task for each would cost more than all that it does: `docs/performance.md` has the figures.

mod connection;
mod handshake;
mod reactor;
mod reactor_handle;
mod reactors;
mod reader;
mod received;
mod unsent;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;

use self::connection::{Arrival, Places};
use self::handshake::{Handshake, agree};
use super::authenticator::Rejection;
use super::connect::{Admitted, Transport, origin_of};
use super::mount::{Mount, WireLimits};
use super::stream::TrackedStream;
use crate::socket::{Reason, Tally};

#[cfg(test)]
pub(crate) use reactor_handle::Fault;
pub use reactors::Reactors;

/// Where clients connect to a mount.
pub(super) struct Door {
    mount: Arc<Mount>,
    manners: Arc<Manners>,
}

/// What connections have to know of their mount. It is not the mount itself, which holds the threads that hold the connections.
pub(in crate::transport) struct Manners {
    pub(in crate::transport) path: String,
    pub(in crate::transport) limits: WireLimits,
    pub(in crate::transport) tally: Arc<Tally>,
}

impl Door {
    pub(super) fn new(mount: &Arc<Mount>) -> Arc<Self> {
        let tally = Arc::clone(&mount.endpoint.sockets.tally);
        let manners = Arc::new(Manners { path: mount.path.clone(), limits: mount.limits, tally });
        Arc::new(Self { mount: Arc::clone(mount), manners })
    }
}

/// Answers a connect request, in the order in which Phoenix judges one: the method, whether the client may connect, and only
/// then the upgrade.
pub(super) async fn connect(
    State(door): State<Arc<Door>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let mount = &door.mount;
    if request.method() != Method::GET {
        mount.note_refused(Reason::BadUpgrade, request.headers(), peer);
        return StatusCode::BAD_REQUEST.into_response();
    }
    let (mut parts, _) = request.into_parts();
    let connection = parts.extensions.remove::<Arc<OwnedSemaphorePermit>>();
    let admitted = match mount.admit(&parts, peer, Transport::WebSocket).await {
        Ok(admitted) => admitted,
        Err(turned) => {
            mount.note_refused(turned.reason(), &parts.headers, peer);
            return turned.status().into_response();
        }
    };
    let handshake = match Handshake::of(&mut parts) {
        Ok(handshake) => handshake,
        Err(lack) => {
            mount.note_refused(Reason::BadUpgrade, &parts.headers, peer);
            return lack.into_response();
        }
    };
    let Some(entered) = mount.gate.acquire() else {
        mount.note_refused(Reason::SocketLimit, &parts.headers, peer);
        return Rejection::Full.status().into_response();
    };
    let answer = agree(&handshake, admitted.protocol.as_deref());
    let places = Places { _entered: entered, _connection: connection };
    let origin = page(&parts.headers);
    tokio::spawn(async move {
        if let Err(error) = hand_over(&door, handshake.upgrade, admitted, (origin, places)).await {
            tracing::debug!("a connection was lost on its upgrade: {error:#}");
        }
    });
    answer
}

/// Once the answer is written, the connection is a reactor's.
async fn hand_over(
    door: &Door,
    upgrade: OnUpgrade,
    admitted: Admitted,
    (origin, places): (Option<Box<str>>, Places),
) -> Result<()> {
    let upgraded = upgrade.await?.downcast::<TokioIo<TrackedStream>>();
    let Parts { io, read_buf: received, .. } = upgraded.ok().context("it isn't one that we accepted")?;
    let stream = io.into_inner().into_stream().into_std()?;
    let Door { mount, manners } = door;
    let socket = mount.endpoint.connect(admitted.facts, admitted.serializer);
    let manners = Arc::clone(manners);
    mount.reactors.admit(Arrival { stream, received, socket, manners, origin, places });
    Ok(())
}

/// The page that connects, as the log will have it should the host close the connection. No more of it is kept than an origin has
/// at most: a name of 255 bytes, between its scheme and its port.
fn page(headers: &HeaderMap) -> Option<Box<str>> {
    const BYTES_MAX: usize = 300;
    origin_of(headers).filter(|origin| origin.len() <= BYTES_MAX).map(Into::into)
}
