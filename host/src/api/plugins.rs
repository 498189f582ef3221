//! The calls that show, reload, unload, roll back and forget plugins.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::plugin::{Command, CommandError, PluginStatus};

/// `GET /api/plugins`.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Value> {
    Json(json!({ "plugins": api.statuses.all() }))
}

/// `GET /api/plugins/{name}`.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<PluginStatus>, ApiError> {
    let Path(name) = name?;
    api.plugin(&name).map(Json)
}

/// `POST /api/plugins/{name}/{reload, unload, rollback or forget}`. Answers when the command is done.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    names: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path((name, command)) = names?;
    let command = match command.as_str() {
        "reload" => Command::Reload,
        "unload" => Command::Unload,
        "rollback" => Command::Rollback,
        "forget" => Command::Forget,
        other => {
            let message =
                format!("the commands for a plugin are `reload`, `unload`, `rollback` and `forget`, not `{other}`");
            return Err(ApiError::unknown(message));
        }
    };
    api.control.ask(&name, command).await.map_err(|denied| match denied {
        CommandError::Unknown => ApiError::unknown(format!("there is no plugin `{name}`")),
        CommandError::Refused(why) => ApiError::new(StatusCode::CONFLICT, "refused", why),
        CommandError::Stopping => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the host is stopping"),
    })?;
    if command == Command::Forget {
        return Ok(Json(json!({ "forgotten": name })));
    }
    Ok(Json(json!(api.plugin(&name)?)))
}

impl Api {
    fn plugin(&self, name: &str) -> Result<PluginStatus, ApiError> {
        self.statuses.one(name).ok_or_else(|| ApiError::unknown(format!("there is no plugin `{name}`")))
    }
}
