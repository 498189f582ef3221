//! The transports: an axum router, with WebSocket and long-poll at each mount.
//!
//! A transport moves bytes: it passes a client's messages to its socket, and writes the socket's outbox. It doesn't
//! interpret them. The checks of a client that connects are the same for all transports, and are all in `connect`.

mod authenticator;
mod connect;
mod files;
mod listen;
mod longpoll;
mod mount;
mod nothing;
mod pages;
mod params;
mod request;
mod stream;
mod subprotocol;
mod tags;
mod websocket;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::http::header::SEC_WEBSOCKET_KEY;
use axum::response::Response;
use axum::routing::any;

use self::connect::origin_of;
use self::files::Files;
use crate::socket::{Client, Reason, Tally};

pub use authenticator::{Authenticator, TokenCheck, Verifier};
pub use files::StaticFiles;
pub use listen::{Intake, listen};
pub use mount::{ConnectionLimit, Mount, WireLimits};
#[cfg(test)]
pub(crate) use websocket::Fault;
pub use websocket::Reactors;

/// Builds the router: the mounts, further routes such as those of the API, and static files as the fallback.
pub fn router(mounts: Vec<Arc<Mount>>, further: Router, files: Option<StaticFiles>) -> Router {
    let mut router = further;
    let tally = mounts.first().map(|mount| Arc::clone(&mount.endpoint.sockets.tally)).unwrap_or_default();
    for mount in mounts {
        if mount.websocket {
            let path = format!("{}/websocket", mount.path);
            router = router.route(&path, any(websocket::connect).with_state(websocket::MountState::new(&mount)));
        }
        if mount.longpoll {
            let path = format!("{}/longpoll", mount.path);
            router = router.route(&path, any(longpoll::answer).with_state(longpoll::Polls::new(&mount)));
        }
    }
    let files = files.map(StaticFiles::service);
    router.fallback_service(any(elsewhere).with_state(Arc::new(Elsewhere { files, tally })))
}

/// The state of the fallback, for paths without a route.
struct Elsewhere {
    files: Option<Files>,
    tally: Arc<Tally>,
}

/// Answers requests to paths without a route.
async fn elsewhere(
    State(elsewhere): State<Arc<Elsewhere>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (uri, headers) = (request.uri().clone(), request.headers());
    let connects = headers.contains_key(SEC_WEBSOCKET_KEY) || is_transport(uri.path());
    let origin = if connects { origin_of(headers).map(Cow::into_owned) } else { None };
    let answer = match &elsewhere.files {
        Some(files) => nothing::beside_pages(uri.path(), files.answer(request).await),
        None => nothing::without_pages(uri.path()),
    };
    if connects && answer.status() == StatusCode::NOT_FOUND {
        let client = Client { peer: Some(peer), mount: uri.path(), origin: origin.as_deref() };
        elsewhere.tally.note(Reason::UnknownMount, &client);
    }
    answer
}

/// Whether a path looks like that of a transport.
fn is_transport(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| last == "websocket" || last == "longpoll")
}
