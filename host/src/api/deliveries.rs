//! The calls that show, retry and drop deliveries.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::{Api, ApiError};
use crate::contract::deliveries::DeliveryId;
use crate::deliveries::{DeliveryNotChanged, DeliveryView, LISTED_MAX};

/// The query parameters of `GET /api/deliveries`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    plugin: Option<String>,
    /// The `next` of an earlier answer.
    after: Option<String>,
    limit: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { plugin: None, after: None, limit: LISTED_MAX }
    }
}

/// The answer of `GET /api/deliveries`.
#[derive(Serialize)]
pub(super) struct Listed {
    deliveries: Vec<Shown>,
    /// For `after`, if there are more.
    next: Option<String>,
}

/// A delivery. Neither its headers nor its body are shown: they may have data of users.
#[derive(Serialize)]
struct Shown {
    plugin: String,
    id: String,
    topic: String,
    url: String,
    order: Option<String>,
    state: &'static str,
    created_ms: u64,
    next_ms: Option<u64>,
    expires_ms: u64,
    failures: u32,
    failure: Option<String>,
    body_bytes: usize,
}

/// The body of a change: the delivery.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    plugin: String,
    id: String,
}

/// `GET /api/deliveries`.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Listed>, ApiError> {
    let Query(Wanted { plugin, after, limit }) = wanted.map_err(|error| ApiError::bad(error.body_text()))?;
    let after = after.map(|after| {
        let parts: Result<(String, String), _> = serde_json::from_str(&after);
        parts.map_err(|_| ApiError::bad("`after` is not the `next` of an earlier answer"))
    });
    let after = after.transpose()?.map(|(plugin, id)| delivery_id(&plugin, &id));
    let listed = api.deliveries.list(plugin.as_deref(), after.as_ref(), limit.clamp(1, LISTED_MAX)).await;
    let (deliveries, has_more) = listed.map_err(|error| unavailable(&error))?;
    let last = deliveries.last().filter(|_| has_more).map(|delivery| &delivery.id);
    let next = last.map(|id| serde_json::json!([&*id.plugin, &*id.id]).to_string());
    Ok(Json(Listed { deliveries: deliveries.into_iter().map(shown).collect(), next }))
}

/// `POST /api/deliveries/{command}`: retries or drops one.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    command: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Json<serde_json::Value>, ApiError> {
    let Path(command) = command?;
    let Named { plugin, id } = body.read()?;
    let id = delivery_id(&plugin, &id);
    let changed = match command.as_str() {
        "retry" => api.deliveries.retry(&id).await,
        "drop" => api.deliveries.drop_delivery(&id).await,
        _ => return Err(ApiError::unknown(format!("a delivery has no command `{command}`; it has retry and drop"))),
    };
    match changed {
        Ok(()) => Ok(Json(serde_json::json!({}))),
        Err(DeliveryNotChanged::Unknown) => Err(ApiError::unknown("there is no such delivery")),
        Err(DeliveryNotChanged::Failed(error)) => Err(unavailable(&error)),
    }
}

fn delivery_id(plugin: &str, id: &str) -> DeliveryId {
    DeliveryId { plugin: plugin.into(), id: id.into() }
}

fn unavailable(error: &anyhow::Error) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store", format!("{error:#}"))
}

fn shown(DeliveryView { id, state, row, body_bytes }: DeliveryView) -> Shown {
    Shown {
        plugin: id.plugin.to_string(),
        id: id.id.to_string(),
        topic: row.topic.to_string(),
        url: row.url.to_string(),
        order: row.order.map(|order| order.to_string()),
        state: state.as_str(),
        created_ms: row.created_ms,
        next_ms: row.next_ms,
        expires_ms: row.expires_ms,
        failures: row.failures,
        failure: (row.failures > 0).then(|| row.failure.to_string()),
        body_bytes,
    }
}
