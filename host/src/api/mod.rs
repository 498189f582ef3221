//! The HTTP API, for operators and other programs: messages, topics, presences, plugins.
//!
//! `openapi.json` describes the API and is served at `/api/openapi.json`. A test compares it with the host's answers.

mod access;
mod body;
mod deliveries;
mod error;
mod events;
mod inspect;
mod members;
mod messages;
mod metrics;
mod plugins;
mod schedules;
mod topics;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

use self::error::ApiError;
use crate::channel::Node;
use crate::deliveries::Deliveries;
use crate::jobs::Jobs;
use crate::plugin::{Control, PluginStatuses};
use crate::socket::{Client, Sockets};

pub use access::Access;

/// The parts of the host that the API uses.
pub struct Api {
    /// Topics, members and presences.
    pub node: Arc<Node>,
    /// The sockets, for their counts.
    pub sockets: Arc<Sockets>,
    /// The state of each plugin.
    pub statuses: Arc<PluginStatuses>,
    /// What is done later.
    pub jobs: Jobs,
    /// Requests that are sent until a server accepts them.
    pub deliveries: Deliveries,
    /// Sends commands to the plugin library.
    pub control: Control,
    /// When the host started.
    pub started: Instant,
    /// Checks the API key.
    pub access: Access,
    /// Names the vital task or thread that has ended. It is set at most once, by the host.
    pub failure: Arc<OnceLock<String>>,
    /// Returns how many lines of the log were lost.
    pub log_lines_lost: fn() -> u64,
}

/// Returns the routes of the API, below `/api`.
pub fn router(api: Api) -> Router {
    let api = Arc::new(api);
    Router::new()
        .route("/api/broadcast", post(messages::broadcast))
        .route("/api/send", post(messages::send))
        .route("/api/push", post(members::push))
        .route("/api/send-member", post(members::send_member))
        .route("/api/kick", post(members::kick))
        .route("/api/disconnect", post(messages::disconnect))
        .route("/api/events", get(events::events))
        .route("/api/topics", get(topics::list))
        .route("/api/topics/{topic}", get(topics::one))
        .route("/api/topics/{topic}/presence", get(topics::presence))
        .route("/api/plugins", get(plugins::list))
        .route("/api/plugins/{name}", get(plugins::one))
        .route("/api/plugins/{name}/{command}", post(plugins::change))
        .route("/api/schedules", get(schedules::list))
        .route("/api/schedules/{command}", post(schedules::change))
        .route("/api/deliveries", get(deliveries::list))
        .route("/api/deliveries/{command}", post(deliveries::change))
        .route("/api/inspect", get(inspect::inspect))
        .route("/api/openapi.json", get(describe))
        .route("/metrics", get(metrics::metrics))
        .route("/api", any(unknown))
        .route("/api/", any(unknown))
        .route("/api/{*rest}", any(unknown))
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(body::BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&api), admit))
        // Reached only if the API has its own address.
        .fallback(elsewhere)
        .with_state(api)
}

/// Passes on a request that has access. Counts and refuses any other.
async fn admit(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let Err(refusal) = api.access.check(request.method(), request.headers()) else {
        return next.run(request).await;
    };
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let client = Client { peer: Some(peer), mount: request.uri().path(), origin };
    api.sockets.tally.note(refusal.reason(), &client);
    ApiError::from(refusal).into_response()
}

async fn describe() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}

async fn elsewhere() -> ApiError {
    ApiError::unknown(
        "this is the API of a Bennu host; its calls begin with `/api`, and `/api/openapi.json` describes them",
    )
}

async fn unknown() -> ApiError {
    ApiError::unknown("there is no such call; `/api/openapi.json` describes all calls")
}

async fn not_allowed() -> ApiError {
    let message = "this call doesn't have this method; `/api/openapi.json` describes all calls";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
