//! The calls that list topics, members and presences.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cluster::covering;
use super::keys::Caller;
use super::{Api, ApiError};
use crate::protocol::{Payload, Topic};

/// The maximum number of topics or members in one answer.
const LISTED_MAX: usize = 1000;

/// The query parameters of `GET /api/topics`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Wanted {
    prefix: String,
    after: Option<String>,
    limit: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { prefix: String::new(), after: None, limit: LISTED_MAX }
    }
}

/// `GET /api/topics`.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(Wanted { prefix, after, limit }) = wanted.map_err(|error| ApiError::bad(error.body_text()))?;
    caller.check_prefix(&prefix)?;
    let (after, limit) = (after.as_deref(), limit.min(LISTED_MAX));
    let found = api.node.pubsub.topics_under(&prefix, after, limit);
    let found = match &api.cluster {
        Some(peers) => peers.topics_under(found, &prefix, after, limit),
        None => found,
    };
    let shown = |(topic, members): &(Topic, usize)| json!({ "topic": topic.as_str(), "members": members });
    Ok(Json(json!({ "topics": found.iter().map(shown).collect::<Vec<_>>() })))
}

/// `GET /api/topics/{topic}`.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    topic: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path(topic) = topic?;
    caller.check_topic(&topic)?;
    let mut members = api.node.pubsub.audience(&topic).map_or(0, |audience| audience.len());
    let mut people = api.node.people(&topic, LISTED_MAX);
    let mut coverage = None;
    if let Some(peers) = &api.cluster {
        let elsewhere = peers.members(&topic, LISTED_MAX).await;
        members += elsewhere.count;
        people.extend(elsewhere.people);
        people.truncate(LISTED_MAX);
        coverage = Some(elsewhere.coverage);
    }
    let people = people
        .iter()
        .map(|person| json!({ "member": person.member, "user": person.user, "socket_id": person.socket_id }));
    let answer = json!({ "topic": topic, "members": members, "people": people.collect::<Vec<_>>() });
    Ok(Json(covering(answer, coverage)))
}

/// `GET /api/topics/{topic}/presence`: the presences, in the form of `presence_state`.
pub(super) async fn presence(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    topic: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(topic) = topic?;
    caller.check_topic(&topic)?;
    let Payload::Json(text) = api.node.presence.state(&Topic::new(&topic)) else {
        return Err(ApiError::unknown("nobody is online"));
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], text.into_bytes()).into_response())
}
