//! The calls that read the store: how much there is, and an export.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::store::{Exporting, Owner, QUOTA_BYTES};

/// The query parameters of `GET /api/store/export`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    plugin: Option<String>,
}

/// `GET /api/store/usage`.
pub(super) async fn usage(State(api): State<Arc<Api>>) -> Result<Json<Value>, ApiError> {
    let usages = api.node.store.usages().await.map_err(failed)?;
    let shown = |(plugin, bytes): &(String, u64)| json!({ "plugin": plugin, "bytes": bytes });
    Ok(Json(json!({ "plugins": usages.iter().map(shown).collect::<Vec<_>>() })))
}

/// `GET /api/store/export`.
pub(super) async fn export(
    State(api): State<Arc<Api>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Wanted { plugin }) = wanted.map_err(|error| ApiError::bad(error.body_text()))?;
    let owner = plugin.map(|name| owner(&name)).transpose()?;
    let parts = api.node.store.export_stream(owner.as_ref()).map_err(failed)?.map_err(|Exporting| {
        let message = "an export of the store is running; a host makes one at a time";
        ApiError::new(StatusCode::CONFLICT, "exporting", message)
    })?;
    tracing::info!(plugin = owner.as_ref().map(Owner::name), "an export of the store begins");
    let parts = stream::unfold(parts, async |mut parts| Some((Ok::<_, Infallible>(parts.recv().await?), parts)));
    let headers = [(header::CONTENT_TYPE, "application/jsonl"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(parts)).into_response())
}

/// Reads the name of a plugin's data.
fn owner(name: &str) -> Result<Owner, ApiError> {
    Owner::new(name, QUOTA_BYTES).map_err(|error| ApiError::bad(format!("plugin: {error}")))
}

fn failed(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store_failed", format!("the store can't be read: {error}"))
}
