//! The call that stops the host.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use super::{Api, ApiError};

/// The body of `POST /api/drain`. It has no fields yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {}

/// `POST /api/drain`: the host stops, as after the signal SIGTERM. Before its end, it waits until this answer is sent.
pub(super) async fn drain(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Value>, ApiError> {
    let Drain {} = body.read()?;
    let answer = json!({ "sockets": api.sockets.count(), "channels": api.node.channel_count() });
    api.health.ask_to_stop();
    Ok(Json(answer))
}
