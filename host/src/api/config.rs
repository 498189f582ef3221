//! The call that reloads the configuration.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use super::body::Body;
use super::{Api, ApiError};

/// Reloads the configuration, or says what would change if the parameter is true. Returns the answer, or why the configuration is
/// refused.
pub type ReloadConfig = Arc<dyn Fn(bool) -> BoxFuture<'static, Result<Value, String>> + Send + Sync>;

/// The body of `POST /api/config/reload`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reload {
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/config/reload`.
pub(super) async fn reload(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Value>, ApiError> {
    let Reload { dry_run } = body.read()?;
    // In a task, so that it is done completely even if the client closes its connection, which drops this handler's future.
    let reloaded = tokio::spawn((api.reload_config)(dry_run)).await;
    let reloaded =
        reloaded.map_err(|_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", "a fault of the host"))?;
    reloaded.map(Json).map_err(|why| {
        let message = format!("the configuration is refused, and nothing was changed: {why}");
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", message)
    })
}
