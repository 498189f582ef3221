//! The WebSocket transport.
//!
//! axum answers the request that opens a connection; from then on a [`Reactor`](reactor::Reactor) serves it, a thread with many
//! of them. A task for each would cost more than all that it does: `docs/performance.md` has the figures.

mod connection;
mod handshake;
mod post;
mod reactor;
mod reactors;
mod reader;
mod unsent;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use self::connection::{Arrival, Places};
use self::handshake::{Handshake, agree};
use super::connect::{Admitted, Transport};
use super::doorman::Turned;
use super::mount::Mount;

pub use reactors::Reactors;

/// Answers a connect request, in the order in which Phoenix judges one: the method, whether the client may connect, and only
/// then the upgrade.
pub(super) async fn connect(
    State(mount): State<Arc<Mount>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    if request.method() != Method::GET {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let (mut parts, _) = request.into_parts();
    let connection = parts.extensions.remove::<Arc<OwnedSemaphorePermit>>();
    let admitted = match mount.admit(&parts, peer, Transport::WebSocket).await {
        Ok(admitted) => admitted,
        Err(turned) => return turned.status().into_response(),
    };
    let handshake = match Handshake::of(&mut parts) {
        Ok(handshake) => handshake,
        Err(lack) => return (StatusCode::BAD_REQUEST, format!("this is a WebSocket: {lack}\n")).into_response(),
    };
    let Some(entered) = mount.gate.enter() else {
        return Turned::Full.status().into_response();
    };
    let answer = agree(&handshake, admitted.protocol.as_deref());
    let places = Places { _entered: entered, _connection: connection };
    tokio::spawn(async move {
        if let Err(error) = hand_over(&mount, handshake.upgrade, admitted, places).await {
            tracing::debug!("a connection was lost on its upgrade: {error:#}");
        }
    });
    answer
}

/// Once the answer is written, the connection is a reactor's.
async fn hand_over(mount: &Mount, upgrade: OnUpgrade, admitted: Admitted, places: Places) -> Result<()> {
    let upgraded = upgrade.await?.downcast::<TokioIo<TcpStream>>();
    let Parts { io, read_buf: received, .. } = upgraded.ok().context("it isn't one that we accepted")?;
    let stream = io.into_inner().into_std()?;
    let socket = mount.endpoint.connect(admitted.facts, admitted.serializer);
    let (idle, message_bytes_max) = (mount.limits.idle, mount.limits.frame_bytes);
    mount.reactors.admit(Arrival { stream, received, socket, idle, message_bytes_max, places });
    Ok(())
}
