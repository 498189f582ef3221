//! The call that stops the host.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::body::Body;
use super::{Api, ApiError};

/// The time between the answer and the stop, so that a host without connections to close doesn't end before the answer is sent.
const BEFORE_THE_STOP: Duration = Duration::from_millis(100);

/// The body of `POST /api/drain`. It has no fields yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {}

/// `POST /api/drain`: the host stops, as after the signal SIGTERM.
pub(super) async fn drain(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Value>, ApiError> {
    let Drain {} = body.read()?;
    let health = Arc::clone(&api.health);
    tokio::spawn(async move {
        sleep(BEFORE_THE_STOP).await;
        health.ask_to_stop();
    });
    Ok(Json(json!({ "sockets": api.sockets.count(), "channels": api.node.channel_count() })))
}
