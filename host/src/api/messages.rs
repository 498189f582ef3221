//! The calls that broadcast to members, send messages to topics, and close sockets.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::{Body, check_name, object, payload_of};
use super::{Api, ApiError};
use crate::channel::Undelivered;
use crate::contract::Reply;
use crate::counts::Limit;
use crate::protocol::{NAME_BYTES_MAX, Payload, Topic};
use crate::pubsub::{Broadcast, DropKey, Except, PubSub};

/// The maximum number of broadcasts in one request.
const MESSAGES_MAX: usize = 1000;

/// The longest time that a caller may wait for the answer of a topic, in milliseconds.
const WAIT_MS_MAX: u64 = 300_000;

/// One event for a topic.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    topic: String,
    event: String,
    /// Raw text, so that clients get exactly the JSON that was sent.
    payload: Option<Box<RawValue>>,
    payload_base64: Option<String>,
    #[serde(default)]
    except: Option<Excluded>,
    /// For a droppable broadcast: its key.
    droppable: Option<String>,
    /// For a message to a topic: how long its answer may take, in milliseconds.
    wait_ms: Option<u64>,
}

/// The members that don't get a broadcast: all sockets of an id, or one member by its number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Excluded {
    Socket(String),
    Member(u64),
}

/// The answer of `POST /api/send`.
#[derive(Serialize)]
pub(super) struct Sent {
    reply: Option<Shown>,
}

/// The plugin's reply, with its JSON unchanged, or its bytes in base64.
#[derive(Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_base64: Option<String>,
    status: Box<str>,
}

/// Finds out whether a body has a list of broadcasts, before it is parsed as one or the other.
#[derive(Deserialize)]
struct Probe {
    messages: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    messages: Vec<Box<RawValue>>,
}

/// The body of `POST /api/disconnect`: the id of the sockets to close.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Disconnect {
    id: String,
}

/// `POST /api/broadcast`. Checks all broadcasts before it sends the first one.
pub(super) async fn broadcast(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Value>, ApiError> {
    let Probe { messages } = body.read()?;
    let events: Vec<Event> = if messages.is_some() { many(&body)? } else { vec![body.read()?] };
    let broadcasts = events.into_iter().map(|event| api.broadcast_of(event)).collect::<Result<Vec<_>, _>>()?;
    let accepted = broadcasts.len();
    // In a task, so that all are sent even if the client closes its connection, which drops this handler's future.
    let sent =
        tokio::spawn(async move { send_all(&api.node.pubsub, broadcasts, |broadcast| api.receivers(broadcast)).await });
    let receivers = sent.await.map_err(|_| ApiError::fault())?;
    Ok(Json(json!({ "accepted": accepted, "receivers": receivers })))
}

/// Sends broadcasts, and returns the number of members that they went to. Backpressure applies before each one, as for turns:
/// a thousand broadcasts at once would overfill outboxes that a busy host can't write fast enough.
async fn send_all(pubsub: &PubSub, broadcasts: Vec<Broadcast>, receivers: impl Fn(&Broadcast) -> usize) -> usize {
    let mut reached = 0;
    for broadcast in broadcasts {
        pubsub.pressure.hold_back().await;
        reached += receivers(&broadcast);
        pubsub.broadcast(broadcast);
    }
    reached
}

fn many(body: &Body) -> Result<Vec<Event>, ApiError> {
    let Many { messages } = body.read()?;
    if messages.len() > MESSAGES_MAX {
        Limit::ApiBody.hit();
        return Err(ApiError::bad(format!("at most {MESSAGES_MAX} messages at once, not {}", messages.len())));
    }
    let read = |(at, text): (usize, Box<RawValue>)| {
        object(text.get().as_bytes()).map_err(|why| ApiError::bad(format!("messages[{at}]: {why}")))
    };
    messages.into_iter().enumerate().map(read).collect()
}

/// `POST /api/send`. Answers when `handle_message` has run.
pub(super) async fn send(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Sent>, ApiError> {
    let event: Event = body.read()?;
    if event.except.is_some() {
        return Err(ApiError::bad(
            "`except` is only for broadcasts: a message is sent to the topic, not to its members",
        ));
    }
    if event.droppable.is_some() {
        return Err(ApiError::bad("`droppable` is only for broadcasts: a message to a topic is never dropped"));
    }
    check_names(&event)?;
    let payload = event.payload(Payload::check_value)?;
    let delivered = match event.wait_ms {
        None => api.node.send(&event.topic, event.event.into(), payload).await,
        Some(wait_ms) if wait_ms <= WAIT_MS_MAX => {
            let wait = Duration::from_millis(wait_ms);
            let delivered = api.node.send_and_wait(&event.topic, event.event.into(), payload, wait).await;
            delivered.ok_or_else(|| {
                let message = format!("no answer came within {wait_ms} ms; the message itself may have been handled");
                ApiError::new(StatusCode::GATEWAY_TIMEOUT, "no_answer", message)
            })?
        }
        Some(_) => return Err(ApiError::bad(format!("`wait_ms` must be at most {WAIT_MS_MAX}"))),
    };
    let reply = delivered.map_err(|why| undelivered(&event.topic, why))?;
    Ok(Json(Sent { reply: reply.as_ref().map(Shown::of) }))
}

/// `POST /api/disconnect`. Answers with the number of sockets.
pub(super) async fn disconnect(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Value>, ApiError> {
    let Disconnect { id } = body.read()?;
    Ok(Json(json!({ "sockets": api.node.pubsub.disconnect(&id) })))
}

impl Api {
    fn broadcast_of(&self, event: Event) -> Result<Broadcast, ApiError> {
        check_names(&event)?;
        let payload = event.payload(Payload::check_object)?;
        let except = match event.except {
            None => Except::Nobody,
            Some(Excluded::Member(member)) => Except::Member(member),
            Some(Excluded::Socket(id)) => {
                let people = self.node.people(&event.topic, usize::MAX);
                let left = people.into_iter().filter(|person| person.socket_id.as_deref() == Some(&*id));
                Except::Members(Arc::new(left.map(|person| person.member).collect::<HashSet<_>>()))
            }
        };
        if event.wait_ms.is_some() {
            return Err(ApiError::bad("`wait_ms` is only for messages to a topic: a broadcast has no answer"));
        }
        let topic = Topic::new(&event.topic);
        let droppable = match event.droppable.as_deref() {
            Some(key) if key.len() > NAME_BYTES_MAX => {
                let message = format!("`droppable` must have at most {NAME_BYTES_MAX} bytes, not {}", key.len());
                return Err(ApiError::bad(message));
            }
            key => key.map(|key| DropKey::of(&topic, &event.event, key)),
        };
        Ok(Broadcast { topic, event: event.event.into(), payload, except, droppable, number: None })
    }
}

impl Api {
    /// Counts the members that are subscribed now and not left out. A plugin that intercepts the event may still drop it for
    /// some of them.
    fn receivers(&self, broadcast: &Broadcast) -> usize {
        let topic = broadcast.topic.as_str();
        let subscribed = self.node.pubsub.audience(topic).map_or(0, |audience| audience.len());
        match &broadcast.except {
            Except::Nobody => subscribed,
            Except::Members(out) => subscribed.saturating_sub(out.len()),
            Except::Member(out) => {
                let is_there = self.node.people(topic, usize::MAX).iter().any(|person| person.member == *out);
                subscribed.saturating_sub(usize::from(is_there))
            }
        }
    }
}

impl Event {
    fn payload<E: std::fmt::Display>(&self, check: impl Fn(&Payload) -> Result<(), E>) -> Result<Payload, ApiError> {
        payload_of(self.payload.as_deref(), self.payload_base64.as_deref(), check)
    }
}

fn check_names(event: &Event) -> Result<(), ApiError> {
    check_name("topic", &event.topic)?;
    check_name("event", &event.event)
}

fn undelivered(topic: &str, why: Undelivered) -> ApiError {
    match why {
        Undelivered::Unrouted => ApiError::unknown(format!("no plugin serves the topic `{topic}`")),
        Undelivered::NotTaken(plugin) => {
            let message = format!("the plugin `{plugin}`, which serves `{topic}`, has no `handle_message`");
            ApiError::new(StatusCode::NOT_IMPLEMENTED, "not_taken", message)
        }
        Undelivered::Busy => {
            let message = format!("too many messages are queued for the topic `{topic}`; try again");
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
        }
        // Only the kind of the fault: the details are in the log, and clients of the API must not see them.
        Undelivered::Fault(fault) => {
            let message = format!("`handle_message` failed ({}); the host's log says why", fault.kind.as_str());
            ApiError::new(StatusCode::BAD_GATEWAY, "fault", message)
        }
    }
}

impl Shown {
    fn of(reply: &Reply) -> Self {
        let (response, response_base64) = match &reply.payload {
            Payload::Json(text) => (RawValue::from_string(text.to_string()).ok(), None),
            Payload::Binary(bytes) => (None, Some(BASE64_STANDARD.encode(bytes))),
        };
        Self { response, response_base64, status: (*reply.status).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Serializer;
    use crate::pubsub::{HELD_BACK_MAX, Outbox, OutboxLimits, Subscriber};

    #[tokio::test(start_paused = true)]
    async fn broadcasts_wait_under_backpressure_but_not_for_ever() {
        let (pubsub, topic) = (Arc::new(PubSub::new()), Topic::new("t"));
        let outbox = Arc::new(Outbox::new(OutboxLimits::default()));
        let (serializer, member) = (Serializer::V2, Arc::new(()));
        pubsub.subscribe(
            &topic,
            &Subscriber { id: 1, serializer, deflates: false, has_numbers: false, outbox: Arc::clone(&outbox), member },
            None,
        );
        let (payload, except) = (Payload::EMPTY, Except::Nobody);
        let broadcast = Broadcast { topic, event: "e".into(), payload, except, droppable: None, number: None };
        pubsub.pressure.raise();
        let sending = Arc::clone(&pubsub);
        let sent = tokio::spawn(async move { send_all(&sending, vec![broadcast; 3], |_| 1).await });
        tokio::time::sleep(HELD_BACK_MAX / 2).await;
        assert_eq!(outbox.take_all().len(), 0);
        tokio::time::sleep(HELD_BACK_MAX).await;
        assert_eq!(outbox.take_all().len(), 1);
        pubsub.pressure.lower();
        let sent = tokio::time::timeout(Duration::from_secs(1), sent).await.expect("there is no pressure");
        assert_eq!(sent.expect("no panic"), 3);
        assert_eq!(outbox.take_all().len(), 2);
    }
}
