//! The calls that send to some members of a topic, or end them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::{Body, check_name, payload_of};
use super::cluster::covering;
use super::idempotency::IdempotencyKey;
use super::keys::Caller;
use super::{Api, ApiError};
use crate::channel::MemberSelector;
use crate::cluster::{Acted, Coverage, NodeQuestion, ToMembers as ToMembersMessage};
use crate::counts::Limit;
use crate::protocol::{NAME_BYTES_MAX, Payload, Topic};

/// The body of `POST /api/push` and `POST /api/send-member`: an event for some members of a topic.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToMembers {
    topic: String,
    member: Option<u64>,
    socket_id: Option<String>,
    user: Option<String>,
    event: String,
    /// Raw text, so that clients get exactly the JSON that was sent.
    payload: Option<Box<RawValue>>,
    payload_base64: Option<String>,
}

/// The body of `POST /api/kick`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kick {
    /// Without it, the members of all topics are meant.
    topic: Option<String>,
    member: Option<u64>,
    socket_id: Option<String>,
    user: Option<String>,
    #[serde(default)]
    reason: String,
}

/// `POST /api/push`. Sends an event to the clients of some members of a topic.
pub(super) async fn push(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let key = IdempotencyKey::read(&headers, &body)?;
    let ToMembers { topic, member, socket_id, user, event, payload, payload_base64 } = body.read()?;
    caller.check_topic(&topic)?;
    check_name("topic", &topic)?;
    check_name("event", &event)?;
    let selector = selector(member, socket_id, user)?;
    let payload = payload_of(payload.as_deref(), payload_base64.as_deref(), Payload::check_object)?;
    let of_api = Arc::clone(&api);
    api.once("/api/push", key, async move {
        of_api.node.pubsub.pressure.hold_back().await;
        let pushed = of_api.node.push_members(&topic, &selector, &event, &payload);
        let message = format!("too many frames wait for the members of `{topic}`");
        let to = move || NodeQuestion::PushMembers(ToMembersMessage::of(&topic, selector, event, payload));
        of_api.reached(pushed, to, &message).await
    })
    .await
}

/// `POST /api/send-member`. Sends an event to the `handle_info` of some members of a topic.
pub(super) async fn send_member(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let key = IdempotencyKey::read(&headers, &body)?;
    let ToMembers { topic, member, socket_id, user, event, payload, payload_base64 } = body.read()?;
    caller.check_topic(&topic)?;
    check_name("topic", &topic)?;
    check_name("event", &event)?;
    let selector = selector(member, socket_id, user)?;
    let payload = payload_of(payload.as_deref(), payload_base64.as_deref(), Payload::check_value)?;
    let of_api = Arc::clone(&api);
    api.once("/api/send-member", key, async move {
        of_api.node.pubsub.pressure.hold_back().await;
        let event = ByteString::from(event);
        let sent = of_api.node.send_members(&topic, &selector, &event, &payload);
        let to = move || NodeQuestion::SendMembers(ToMembersMessage::of(&topic, selector, event, payload));
        of_api.reached(sent, to, "too many messages wait for a member").await
    })
    .await
}

/// `POST /api/kick`. Answers when the ends of the members are queued.
pub(super) async fn kick(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let Kick { topic, member, socket_id, user, reason } = body.read()?;
    match &topic {
        Some(topic) => caller.check_topic(topic)?,
        None => caller.check_all_topics()?,
    }
    topic.iter().try_for_each(|topic| check_name("topic", topic))?;
    let selector = selector(member, socket_id, user)?;
    if reason.len() > NAME_BYTES_MAX {
        Limit::KickReason.hit();
        let message = format!("`reason` must have at most {NAME_BYTES_MAX} bytes, not {}", reason.len());
        return Err(ApiError::bad(message));
    }
    let of_api = Arc::clone(&api);
    // A second kick does no harm, so it needs no key.
    api.once("/api/kick", None, async move {
        let kicked = of_api.node.kick(topic.as_deref(), &selector, &reason).await;
        let topic = topic.as_deref().map(Topic::new);
        let kick = move || NodeQuestion::Kick { topic, selector, reason: reason.into() };
        of_api.reached(Some(kicked), kick, "").await
    })
    .await
}

impl Api {
    /// Does for the members at the other nodes what has been done for `here` members at this one, and answers with the sum. A
    /// node without room isn't among those that have answered, unless all are without room.
    async fn reached(
        &self,
        here: Option<usize>,
        elsewhere: impl FnOnce() -> NodeQuestion,
        is_full: &str,
    ) -> Result<Value, ApiError> {
        let elsewhere = self.act_elsewhere(elsewhere).await;
        let count = here.unwrap_or(0) + elsewhere.map_or(0, |acted| acted.count);
        if count == 0 && (here.is_none() || elsewhere.is_some_and(|acted| acted.is_busy)) {
            return Err(busy(is_full));
        }
        let coverage = elsewhere.map(|Acted { coverage, .. }| Coverage {
            answered: coverage.answered - usize::from(here.is_none()),
            ..coverage
        });
        Ok(covering(json!({ "members": count }), coverage))
    }
}

/// Which members a request is about.
fn selector(member: Option<u64>, socket_id: Option<String>, user: Option<String>) -> Result<MemberSelector, ApiError> {
    match (member, socket_id, user) {
        (Some(number), None, None) => Ok(MemberSelector::Member(number)),
        (None, Some(id), None) => {
            check_name("socket_id", &id)?;
            Ok(MemberSelector::Socket(id))
        }
        (None, None, Some(user)) => {
            check_name("user", &user)?;
            Ok(MemberSelector::User(user))
        }
        _ => Err(ApiError::bad("give `member`, `socket_id` or `user`, and only one of them")),
    }
}

fn busy(what: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", format!("{what}; try again"))
}
