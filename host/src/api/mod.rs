//! The HTTP API, for operators and other programs: messages from anywhere, topics, presences, plugins.
//!
//! `openapi.json` describes it, is served at `/api/openapi.json`, and is held to what the host does by a test.

mod access;
mod body;
mod error;
mod inspect;
mod messages;
mod plugins;
mod topics;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};

use self::error::ApiError;
use crate::channel::Node;
use crate::plugin::{Control, PluginStatuses};
use crate::socket::Sockets;

pub use access::Access;

/// What the API speaks about.
pub struct Api {
    /// Topics, members and presences.
    pub node: Arc<Node>,
    /// The sockets, to be counted.
    pub sockets: Arc<Sockets>,
    /// How the plugins are.
    pub statuses: Arc<PluginStatuses>,
    /// What they are told by.
    pub control: Control,
    /// When the host started.
    pub started: Instant,
    /// Who may ask.
    pub access: Access,
    /// What has ended that the host can't serve without, once something has.
    pub failure: Arc<OnceLock<String>>,
    /// How many lines of the log were lost.
    pub log_lines_lost: fn() -> u64,
}

/// The routes, below `/api`.
pub fn router(api: Api) -> Router {
    let api = Arc::new(api);
    Router::new()
        .route("/api/broadcast", post(messages::broadcast))
        .route("/api/send", post(messages::send))
        .route("/api/disconnect", post(messages::disconnect))
        .route("/api/topics", get(topics::list))
        .route("/api/topics/{topic}", get(topics::one))
        .route("/api/topics/{topic}/presence", get(topics::presence))
        .route("/api/plugins", get(plugins::list))
        .route("/api/plugins/{name}", get(plugins::one))
        .route("/api/plugins/{name}/{wish}", post(plugins::change))
        .route("/api/inspect", get(inspect::inspect))
        .route("/api/openapi.json", get(describe))
        .route("/api", any(unknown))
        .route("/api/", any(unknown))
        .route("/api/{*rest}", any(unknown))
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(body::BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&api), admit))
        // Where the API has an address of its own.
        .fallback(elsewhere)
        .with_state(api)
}

async fn admit(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match api.access.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn describe() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}

async fn elsewhere() -> ApiError {
    ApiError::unknown(
        "this is the API of a Bennu host, whose calls begin with `/api`; `/api/openapi.json` describes them",
    )
}

async fn unknown() -> ApiError {
    ApiError::unknown("there is no such call; `/api/openapi.json` describes those that there are")
}

async fn not_allowed() -> ApiError {
    let message = "this call has another method; `/api/openapi.json` says which";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
