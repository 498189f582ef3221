//! The dashboard: pages for operators, at the address of the API.
//!
//! A page signs in with a key of the API (`sign_in`), for a session. It gets what it shows over a channel of the host's own
//! (`views`), on a node without plugins. What it changes, it changes by the calls of the API, whose scopes and log lines are the
//! same for a session as for a key. The playground is a client like any other, which the host admits for a session.
//!
//! While no page is open, nothing of this runs.

mod assets;
mod attempts;
mod gatekeeper;
mod sign_in;
mod views;

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{Redirect, Response};
use axum::routing::get;

use self::assets::Assets;
use self::gatekeeper::{Pages, Playground};
use self::sign_in::SignIn;
use crate::api::{Api, Sessions};
use crate::auth::Origins;
use crate::channel::{Node, NodeLimits};
use crate::presence::Pace;
use crate::protocol::Dialect;
use crate::routes::{RouteTable, Routes};
use crate::socket::{Endpoint, SocketLimits, Sockets};
use crate::transport::{Authenticator, ConnectionLimit, HostGatekeeper, Mount, Reactors, WireLimits, websocket_router};

/// The most open connections of pages for what they show. The playground's are sockets of the host.
const SOCKETS_MAX: usize = 64;

/// The most messages in a second of a page's connection.
const MESSAGES_PER_SECOND: u32 = 50;

/// The most bytes of a message from a page.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// What a page may load and do: only files of this host, and connections to it. Nothing may show it in a frame, and no text
/// becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The settings of the playground's sockets, and what serves all connections.
pub struct Connections {
    /// The threads that serve WebSocket connections.
    pub reactors: Arc<Reactors>,
    /// Limits the sockets of the host.
    pub gate: Arc<ConnectionLimit>,
    /// The limits of the playground's sockets.
    pub endpoint: Endpoint,
    /// The limits of a connection.
    pub limits: WireLimits,
}

/// Returns the routes of the dashboard, for the API's own address.
///
/// # Errors
/// If the channel of the dashboard can't be made.
pub fn router(api: &Arc<Api>, sessions: &Arc<Sessions>, connections: Connections) -> Result<Router> {
    let Connections { reactors, gate, endpoint, limits } = connections;
    let playground: Arc<dyn HostGatekeeper> = Arc::new(Playground::new(sessions));
    let playground = mount("/dashboard/playground", &reactors, gate, (endpoint, limits), playground);
    let sockets = Arc::new(Sockets::with_tally(&api.sockets.tally));
    let node = node(api, sessions)?;
    let (pages, hosts) = (Arc::downgrade(&node), Arc::downgrade(&api.node));
    sessions.on_end(move |session| {
        let id = gatekeeper::socket_id(session);
        [&pages, &hosts].into_iter().filter_map(|node| node.upgrade()).for_each(|node| {
            node.pubsub.disconnect(&id);
        });
    });
    let admits: Arc<dyn HostGatekeeper> = Arc::new(Pages::new(sessions, &sockets, SOCKETS_MAX));
    let socket = SocketLimits { channels: 1, messages_per_second: Some(MESSAGES_PER_SECOND) };
    let endpoint = Endpoint { node, sockets, limits: socket, outbox_limits: Default::default() };
    let limits = WireLimits { frame_bytes: MESSAGE_BYTES_MAX, ..limits };
    // The gatekeeper refuses before that, and counts it.
    let gate = ConnectionLimit::new(2 * SOCKETS_MAX);
    let pages = mount("/dashboard/socket", &reactors, gate, (endpoint, limits), admits);
    let to_start = || async { Redirect::to("/dashboard") };
    let router = Router::new()
        .route("/", get(to_start))
        .merge(Assets::router())
        .merge(SignIn::router(api, sessions))
        .merge(websocket_router(&pages))
        .merge(websocket_router(&playground));
    Ok(router.layer(map_response(protect)))
}

/// Makes the node of the dashboard's own channel. It has no plugin, and stores nothing.
fn node(api: &Arc<Api>, sessions: &Arc<Sessions>) -> Result<Arc<Node>> {
    let (routes, store) = (Arc::new(RouteTable::default()), api.node.store.clone());
    let table = Routes::new([views::route(api, sessions).context("the dashboard's channel")?]);
    routes.publish(table.ok().context("the dashboard's channel")?);
    Ok(Node::new(routes, NodeLimits::default(), Pace::default(), store, Arc::default()))
}

fn mount(
    path: &str,
    reactors: &Arc<Reactors>,
    gate: Arc<ConnectionLimit>,
    (endpoint, limits): (Endpoint, WireLimits),
    gatekeeper: Arc<dyn HostGatekeeper>,
) -> Arc<Mount> {
    Arc::new(Mount {
        path: path.to_owned(),
        websocket: true,
        longpoll: false,
        // The gatekeeper compares the origin, also its port.
        origins: Origins::Any,
        subprotocols: Vec::new(),
        dialect: Dialect::default(),
        compress: true,
        auth_token: false,
        authenticator: Authenticator::Host(gatekeeper),
        endpoint,
        limits,
        gate,
        reactors: Arc::clone(reactors),
    })
}

/// Adds the headers that protect a page.
async fn protect(mut response: Response) -> Response {
    const PROTECTION: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in PROTECTION {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
