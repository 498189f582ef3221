//! The calls that show, retry and drop schedules.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::Body;
use super::{Api, ApiError};
use crate::contract::jobs::{JobId, JobKind};
use crate::jobs::{JobView, LISTED_MAX, NotChanged, job_id};
use crate::protocol::Payload;

/// The query parameters of `GET /api/schedules`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    kind: JobKind,
    plugin: Option<String>,
    /// The `next` of an earlier answer.
    after: Option<String>,
    limit: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { kind: schedule(), plugin: None, after: None, limit: LISTED_MAX }
    }
}

/// The answer of `GET /api/schedules`.
#[derive(Serialize)]
pub(super) struct Listed {
    schedules: Vec<Shown>,
    /// For `after`, if there are more.
    next: Option<String>,
}

/// A schedule.
#[derive(Serialize)]
struct Shown {
    plugin: String,
    topic: String,
    key: String,
    event: String,
    due_ms: u64,
    state: &'static str,
    failures: u32,
    next_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// The body of a change: the schedule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    #[serde(default = "schedule")]
    kind: JobKind,
    plugin: String,
    topic: String,
    key: String,
}

/// `GET /api/schedules`.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Listed>, ApiError> {
    let Query(Wanted { kind, plugin, after, limit }) = wanted.map_err(|error| ApiError::bad(error.body_text()))?;
    let after = after.map(|after| {
        let parts: Result<(String, String, String), _> = serde_json::from_str(&after);
        parts.map_err(|_| ApiError::bad("`after` is not the `next` of an earlier answer"))
    });
    let after: Option<JobId> = after.transpose()?.map(|(plugin, topic, key)| job_id(kind, &plugin, &topic, &key));
    let listed = api.jobs.list(kind, plugin.as_deref(), after.as_ref(), limit.clamp(1, LISTED_MAX)).await;
    let (jobs, has_more) = listed.map_err(|error| unavailable(&error))?;
    let last = jobs.last().filter(|_| has_more).map(|job| &job.id);
    let next = last.map(|id| serde_json::json!([&*id.plugin, id.topic.as_str(), &*id.key]).to_string());
    Ok(Json(Listed { schedules: jobs.into_iter().map(shown).collect(), next }))
}

/// `POST /api/schedules/{command}`: retries or drops one.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    command: Result<Path<String>, PathRejection>,
    body: Body,
) -> Result<Json<serde_json::Value>, ApiError> {
    let Path(command) = command?;
    let Named { kind, plugin, topic, key } = body.read()?;
    if kind == JobKind::Cron {
        return Err(ApiError::bad("a time of a cron line can't be changed; change the line in the configuration"));
    }
    let id = job_id(kind, &plugin, &topic, &key);
    let changed = match command.as_str() {
        "retry" => api.jobs.retry(&id).await,
        "drop" => api.jobs.drop_job(&id).await,
        _ => return Err(ApiError::unknown(format!("a schedule has no command `{command}`; it has retry and drop"))),
    };
    match changed {
        Ok(()) => Ok(Json(serde_json::json!({}))),
        Err(NotChanged::Unknown) => Err(ApiError::unknown("there is no such schedule")),
        Err(NotChanged::Failed(error)) => Err(unavailable(&error)),
    }
}

fn schedule() -> JobKind {
    JobKind::Schedule
}

fn unavailable(error: &anyhow::Error) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "store", format!("{error:#}"))
}

fn shown(JobView { id, state, row }: JobView) -> Shown {
    let (payload, payload_base64) = match row.payload {
        Payload::Json(text) => (RawValue::from_string(text.to_string()).ok(), None),
        Payload::Binary(bytes) => (None, Some(BASE64_STANDARD.encode(bytes))),
    };
    Shown {
        plugin: id.plugin.to_string(),
        topic: id.topic.to_string(),
        key: id.key.to_string(),
        event: row.event.to_string(),
        due_ms: row.due_ms,
        state: state.as_str(),
        failures: row.failures,
        next_ms: row.next_ms,
        payload,
        payload_base64,
    }
}
