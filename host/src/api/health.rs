//! `GET /livez` and `GET /readyz`: whether a restart would help, and whether the host should get traffic.
//!
//! Both need no key, because load balancers and service managers ask them. Without a key the answer is only the status. With
//! the API key, it says why.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::access::key_of;
use super::{Access, ApiError, Scope};
use crate::channel::Node;
use crate::cluster::Peers;
use crate::health::{Health, Present, Reasons};
use crate::plugin::PluginStatuses;

/// The parts of the host that the endpoints use.
pub struct HealthParts {
    /// The results of the self-test.
    pub health: Arc<Health>,
    /// The node, for its store.
    pub node: Arc<Node>,
    /// The state of each plugin.
    pub statuses: Arc<PluginStatuses>,
    /// Names the vital task or thread that has ended.
    pub failure: Arc<OnceLock<String>>,
    /// The other nodes, if the host is in a cluster.
    pub cluster: Option<Arc<Peers>>,
    /// Checks the API key, if there is an API.
    pub access: Option<Arc<Access>>,
}

/// Which of the two endpoints is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Probe {
    Live,
    Ready,
}

/// Returns the routes `/livez` and `/readyz`.
pub fn health_router(parts: HealthParts) -> Router {
    let answer = |probe| {
        move |State(parts): State<Arc<HealthParts>>, headers: HeaderMap| async move { parts.answer(probe, &headers) }
    };
    Router::new()
        .route("/livez", get(answer(Probe::Live)))
        .route("/readyz", get(answer(Probe::Ready)))
        .with_state(Arc::new(parts))
}

impl HealthParts {
    fn answer(&self, probe: Probe, headers: &HeaderMap) -> Response {
        let reasons = self.reasons(probe);
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        // The answer must not be older than the request.
        let fresh = [(header::CACHE_CONTROL, "no-store")];
        if !headers.contains_key(header::AUTHORIZATION) {
            let text = if reasons.is_empty() { "ok\n" } else { "not ok; with the API key, the answer says why\n" };
            return (status, fresh, text).into_response();
        }
        let Some(access) = &self.access else {
            return (status, fresh, "this host has no API, and so no key\n").into_response();
        };
        let checked = key_of(access, headers).map_err(ApiError::from);
        match checked.and_then(|caller| caller.check_scope(Scope::Read)) {
            Ok(()) => (status, fresh, Json(self.details(&reasons))).into_response(),
            Err(refused) => refused.into_response(),
        }
    }

    fn reasons(&self, probe: Probe) -> Reasons {
        let trouble = self.node.store.trouble();
        let suspended = self.cluster.as_ref().and_then(|peers| peers.trouble());
        let present = Present {
            failure: self.failure.get().map(String::as_str),
            store_trouble: trouble.as_ref().map(|trouble| trouble.reason.as_str()),
            cluster_trouble: suspended.as_deref(),
            is_served: self.statuses.is_any_served(),
        };
        match probe {
            Probe::Live => self.health.dead(Instant::now(), present),
            Probe::Ready => self.health.unready(Instant::now(), present),
        }
    }

    fn details(&self, reasons: &Reasons) -> Value {
        let ago = |at: Instant| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let checks: Map<String, Value> = self
            .health
            .checks()
            .iter()
            .map(|(check, state)| {
                let shown = json!({ "succeeded_ms_ago": state.succeeded().map(ago), "failure": state.failure() });
                (check.as_str().to_owned(), shown)
            })
            .collect();
        json!({ "ok": reasons.is_empty(), "reasons": reasons, "checks": checks })
    }
}
