//! The HTTP API, for operators and other programs: messages, topics, presences, plugins, the store.
//!
//! `openapi.json` describes the API and is served at `/api/openapi.json`. A test compares it with the host's answers.

mod access;
mod body;
mod cluster;
mod config;
mod deliveries;
mod drain;
mod error;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod health;
mod idempotency;
mod inspect;
mod keys;
mod late_answers;
mod members;
mod messages;
mod metrics;
mod plugins;
mod schedules;
mod sends;
mod sessions;
mod store;
mod topics;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};

use self::access::{Reach, admit, needs};
use crate::channel::Node;
use crate::cluster::Peers;
use crate::deliveries::Deliveries;
use crate::health::Health;
use crate::jobs::Jobs;
use crate::plugin::{Control, PluginStatuses};
use crate::socket::Sockets;

pub use config::ReloadConfig;
pub use health::{HealthParts, health_router};
pub use idempotency::Answers;
pub use keys::{Access, ApiKey, Scope};
pub use sessions::Sessions;

pub(crate) use access::{AccessError, check_page, is_own_origin};
pub(crate) use body::Body;
pub(crate) use error::ApiError;
pub(crate) use inspect::inspected;
pub(crate) use sessions::{Session, SignInError, set_cookie};

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
    /// Reloads the configuration.
    pub reload_config: ReloadConfig,
    /// The API keys.
    pub access: Arc<Access>,
    /// The sessions of the dashboard, if there is one.
    pub sessions: Option<Arc<Sessions>>,
    /// Names the vital task or thread that has ended. It is set at most once, by the host.
    pub failure: Arc<OnceLock<String>>,
    /// The results of the self-test.
    pub health: Arc<Health>,
    /// The answers to requests with an idempotency key that aren't stored.
    pub answers: Answers,
    /// Returns how many lines of the log were lost.
    pub log_lines_lost: fn() -> u64,
    /// The other nodes, if this host is in a cluster.
    pub cluster: Option<Arc<Peers>>,
}

/// Returns the routes of the API, below `/api`.
pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api/broadcast", needs(Scope::Broadcast, Reach::Named, post(messages::broadcast)))
        .route("/api/send", needs(Scope::Send, Reach::Named, post(sends::send)))
        .route("/api/push", needs(Scope::Send, Reach::Named, post(members::push)))
        .route("/api/send-member", needs(Scope::Send, Reach::Named, post(members::send_member)))
        .route("/api/kick", needs(Scope::Operate, Reach::Named, post(members::kick)))
        .route("/api/disconnect", needs(Scope::Operate, Reach::All, post(messages::disconnect)))
        .route("/api/events", needs(Scope::Read, Reach::Named, get(events::events)))
        .route("/api/topics", needs(Scope::Read, Reach::Named, get(topics::list)))
        .route("/api/topics/{topic}", needs(Scope::Read, Reach::Named, get(topics::one)))
        .route("/api/topics/{topic}/presence", needs(Scope::Read, Reach::Named, get(topics::presence)))
        .route("/api/plugins", needs(Scope::Read, Reach::All, get(plugins::list)))
        .route("/api/plugins/{name}", needs(Scope::Read, Reach::All, get(plugins::one)))
        .route("/api/plugins/{name}/{command}", needs(Scope::Operate, Reach::All, post(plugins::change)))
        .route("/api/store/usage", needs(Scope::Read, Reach::All, get(store::usage)))
        .route("/api/store/topics", needs(Scope::Read, Reach::All, get(store::topics)))
        .route("/api/store/row", needs(Scope::Operate, Reach::All, get(store::row)))
        .route("/api/store/rows", needs(Scope::Operate, Reach::All, get(store::rows)))
        .route("/api/store/export", needs(Scope::Operate, Reach::All, get(store::export)))
        .route("/api/schedules", needs(Scope::Read, Reach::All, get(schedules::list)))
        .route("/api/schedules/{command}", needs(Scope::Operate, Reach::All, post(schedules::change)))
        .route("/api/deliveries", needs(Scope::Read, Reach::All, get(deliveries::list)))
        .route("/api/deliveries/{command}", needs(Scope::Operate, Reach::All, post(deliveries::change)))
        .route("/api/config/reload", needs(Scope::Operate, Reach::All, post(config::reload)))
        .route("/api/drain", needs(Scope::Operate, Reach::All, post(drain::drain)))
        .route("/api/inspect", needs(Scope::Read, Reach::All, get(inspect::inspect)))
        .route("/api/cluster", needs(Scope::Read, Reach::All, get(cluster::cluster)))
        .route("/api/openapi.json", get(describe))
        .route("/metrics", needs(Scope::Read, Reach::All, get(metrics::metrics)))
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
