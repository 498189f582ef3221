//! Plugins: how they are, and what can be done about them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Api, Refusal};
use crate::plugin::{Denied, PluginStatus, Wish};

/// `GET /api/plugins`.
pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Value> {
    Json(json!({ "plugins": api.shelf.all() }))
}

/// `GET /api/plugins/{name}`.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<PluginStatus>, Refusal> {
    let Path(name) = name?;
    api.plugin(&name).map(Json)
}

/// `POST /api/plugins/{name}/{reload, unload, rollback or forget}`. It answers when it is done.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    names: Result<Path<(String, String)>, PathRejection>,
) -> Result<Json<Value>, Refusal> {
    let Path((name, wish)) = names?;
    let wish = match wish.as_str() {
        "reload" => Wish::Reload,
        "unload" => Wish::Unload,
        "rollback" => Wish::Rollback,
        "forget" => Wish::Forget,
        other => {
            let message = format!("a plugin can be told to `reload`, `unload`, `rollback` and `forget`, not `{other}`");
            return Err(Refusal::unknown(message));
        }
    };
    api.control.ask(&name, wish).await.map_err(|denied| match denied {
        Denied::Unknown => Refusal::unknown(format!("there is no plugin `{name}`")),
        Denied::Refused(why) => Refusal::new(StatusCode::CONFLICT, "refused", why),
        Denied::Stopping => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the host is stopping"),
    })?;
    if wish == Wish::Forget {
        return Ok(Json(json!({ "forgotten": name })));
    }
    Ok(Json(json!(api.plugin(&name)?)))
}

impl Api {
    fn plugin(&self, name: &str) -> Result<PluginStatus, Refusal> {
        self.shelf.one(name).ok_or_else(|| Refusal::unknown(format!("there is no plugin `{name}`")))
    }
}
