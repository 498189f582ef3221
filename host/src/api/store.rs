//! The calls that read the store: how much there is, rows, and an export.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Api, ApiError};
use crate::store::{Exporting, Owner, QUOTA_BYTES, RowSet, TopicBytes};

/// The query parameters of `GET /api/store/topics`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedTopics {
    plugin: String,
    /// The `next` of an earlier answer.
    after: Option<String>,
}

/// The query parameters of `GET /api/store/row` and `GET /api/store/rows`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedRows {
    plugin: String,
    /// The rows are the durable rooms, and their keys are topics.
    #[serde(default)]
    rooms: bool,
    /// The rows are the entries of this topic.
    topic: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    prefix: Option<String>,
    prefix_base64: Option<String>,
    /// The `next` of an earlier answer.
    after: Option<String>,
    limit: Option<usize>,
}

/// The answer of `GET /api/store/rows`.
#[derive(Serialize)]
pub(super) struct FoundRows {
    rows: Vec<Box<RawValue>>,
    /// For `after`, if there are more.
    next: Option<String>,
}

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

/// `GET /api/store/topics`.
pub(super) async fn topics(
    State(api): State<Arc<Api>>,
    wanted: Result<Query<WantedTopics>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(WantedTopics { plugin, after }) = wanted.map_err(|error| ApiError::bad(error.body_text()))?;
    let page = api.node.store.topic_bytes(&owner(&plugin)?, after.as_deref()).await.map_err(failed)?;
    let shown = |TopicBytes { topic, room_bytes, entries, entries_bytes }: &TopicBytes| json!({ "topic": topic, "room_bytes": room_bytes, "entries": entries, "entries_bytes": entries_bytes });
    Ok(Json(json!({ "topics": page.topics.iter().map(shown).collect::<Vec<_>>(), "next": page.more_after })))
}

/// `GET /api/store/row`.
pub(super) async fn row(
    State(api): State<Arc<Api>>,
    wanted: Result<Query<WantedRows>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(wanted) = wanted.map_err(|error| ApiError::bad(error.body_text()))?;
    let key = bytes(wanted.key.as_ref(), wanted.key_base64.as_ref(), "key")?;
    let key = key.ok_or_else(|| ApiError::bad("name the row: `key`, or `key_base64`"))?;
    let row = api.node.store.stored_row(&owner(&wanted.plugin)?, &wanted.set()?, &key).await.map_err(failed)?;
    let row = row.ok_or_else(|| ApiError::unknown("the store has no such row"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], row).into_response())
}

/// `GET /api/store/rows`.
pub(super) async fn rows(
    State(api): State<Arc<Api>>,
    wanted: Result<Query<WantedRows>, QueryRejection>,
) -> Result<Json<FoundRows>, ApiError> {
    let Query(wanted) = wanted.map_err(|error| ApiError::bad(error.body_text()))?;
    let prefix = bytes(wanted.prefix.as_ref(), wanted.prefix_base64.as_ref(), "prefix")?.unwrap_or_default();
    let after = bytes(None, wanted.after.as_ref(), "after")?;
    let (owner, set, limit) = (owner(&wanted.plugin)?, wanted.set()?, wanted.limit.unwrap_or(usize::MAX));
    let page = api.node.store.stored_rows(&owner, &set, &prefix, after.as_deref(), limit).await.map_err(failed)?;
    let rows = page.rows.into_iter().map(RawValue::from_string).collect::<Result<_, _>>().map_err(failed)?;
    Ok(Json(FoundRows { rows, next: page.more_after.map(|key| BASE64_STANDARD.encode(key)) }))
}

impl WantedRows {
    fn set(&self) -> Result<RowSet, ApiError> {
        match (self.rooms, &self.topic) {
            (false, None) => Ok(RowSet::Keys),
            (true, None) => Ok(RowSet::Rooms),
            (false, Some(topic)) => Ok(RowSet::Entries(topic.clone())),
            (true, Some(_)) => Err(ApiError::bad("`rooms` and `topic` are different rows; give one of them")),
        }
    }
}

/// Returns the bytes of a parameter that is text, or base64 under another name.
fn bytes(text: Option<&String>, base64: Option<&String>, name: &str) -> Result<Option<Vec<u8>>, ApiError> {
    match (text, base64) {
        (Some(text), None) => Ok(Some(text.clone().into_bytes())),
        (None, Some(base64)) => {
            let decoded = BASE64_STANDARD.decode(base64);
            decoded.map(Some).map_err(|error| ApiError::bad(format!("{name}: it isn't base64: {error}")))
        }
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(ApiError::bad(format!("give one of `{name}` and `{name}_base64`"))),
    }
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
