//! The calls that broadcast to members, and close sockets.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::{Body, check_name, object, payload_of};
use super::cluster::covering;
use super::idempotency::IdempotencyKey;
use super::keys::Caller;
use super::{Api, ApiError};
use crate::cluster::NodeQuestion;
use crate::counts::Limit;
use crate::protocol::{NAME_BYTES_MAX, Payload, Topic};
use crate::pubsub::{Broadcast, Droppable, Except, PubSub};

/// The maximum number of events in one request.
const MESSAGES_MAX: usize = 1000;

/// One event for a topic.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    pub(super) topic: String,
    pub(super) event: String,
    /// Raw text, so that clients get exactly the JSON that was sent.
    payload: Option<Box<RawValue>>,
    payload_base64: Option<String>,
    #[serde(default)]
    pub(super) except: Option<Excluded>,
    /// For a droppable broadcast: its key.
    pub(super) droppable: Option<String>,
    /// For a message to a topic: how long its answer may take, in milliseconds.
    pub(super) wait_ms: Option<u64>,
}

/// The members that don't get a broadcast: all sockets of an id, or one member by its number.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Excluded {
    Socket(String),
    Member(u64),
}

/// Finds out whether a body has a list of events, before it is parsed as one or the other.
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

/// The events of a request: one, or several.
pub(super) enum Events {
    One(Box<Event>),
    Many(Vec<Event>),
}

impl Events {
    pub(super) fn read(body: &Body) -> Result<Self, ApiError> {
        let Probe { messages } = body.read()?;
        if messages.is_some() { many(body).map(Self::Many) } else { Ok(Self::One(body.read()?)) }
    }
}

/// `POST /api/broadcast`. Checks all broadcasts before it sends the first one.
pub(super) async fn broadcast(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let key = IdempotencyKey::read(&headers, &body)?;
    let events = match Events::read(&body)? {
        Events::One(event) => vec![*event],
        Events::Many(events) => events,
    };
    events.iter().try_for_each(|event| caller.check_topic(&event.topic))?;
    let broadcasts = events.into_iter().map(|event| api.broadcast_of(event)).collect::<Result<Vec<_>, _>>()?;
    let of_api = Arc::clone(&api);
    api.once("/api/broadcast", key, async move {
        let accepted = broadcasts.len();
        let pubsub = &of_api.node.pubsub;
        let receivers = send_all(pubsub, broadcasts, |broadcast| of_api.receivers(broadcast)).await;
        Ok(json!({ "accepted": accepted, "receivers": receivers }))
    })
    .await
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

/// `POST /api/disconnect`. Answers with the number of sockets.
pub(super) async fn disconnect(State(api): State<Arc<Api>>, body: Body) -> Result<Json<Value>, ApiError> {
    let Disconnect { id } = body.read()?;
    let here = api.node.pubsub.disconnect_here(&id);
    let elsewhere = api.act_elsewhere(|| NodeQuestion::Disconnect(id.into())).await;
    let sockets = here + elsewhere.map_or(0, |acted| acted.count);
    Ok(Json(covering(json!({ "sockets": sockets }), elsewhere.map(|acted| acted.coverage))))
}

impl Api {
    fn broadcast_of(&self, event: Event) -> Result<Broadcast, ApiError> {
        check_names(&event)?;
        let payload = event.payload(Payload::check_object)?;
        let except = match event.except {
            None => Except::Nobody,
            Some(Excluded::Member(member)) => Except::Member(member),
            Some(Excluded::Socket(id)) => {
                let members = self.node.members_of_socket(&event.topic, &id);
                Except::Socket { id: id.into(), members: Arc::new(members) }
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
            key => key.map(|key| Droppable::of(&topic, &event.event, key)),
        };
        Ok(Broadcast { topic, event: event.event.into(), payload, except, droppable, number: None })
    }
}

impl Api {
    /// Counts the members that are subscribed now and not left out. A plugin that intercepts the event may still drop it for
    /// some of them. Members at other nodes are counted as these nodes have told, with those that are left out there.
    fn receivers(&self, broadcast: &Broadcast) -> usize {
        let topic = broadcast.topic.as_str();
        self.receivers_here(broadcast, topic) + self.count_elsewhere(topic)
    }

    fn receivers_here(&self, broadcast: &Broadcast, topic: &str) -> usize {
        let subscribed = self.node.pubsub.audience(topic).map_or(0, |audience| audience.len());
        match &broadcast.except {
            Except::Nobody => subscribed,
            Except::Socket { members, .. } => subscribed.saturating_sub(members.len()),
            Except::Member(out) => {
                let is_there = self.node.people(topic, usize::MAX).iter().any(|person| person.member == *out);
                subscribed.saturating_sub(usize::from(is_there))
            }
        }
    }
}

impl Event {
    pub(super) fn payload<E: std::fmt::Display>(
        &self,
        check: impl Fn(&Payload) -> Result<(), E>,
    ) -> Result<Payload, ApiError> {
        payload_of(self.payload.as_deref(), self.payload_base64.as_deref(), check)
    }
}

pub(super) fn check_names(event: &Event) -> Result<(), ApiError> {
    check_name("topic", &event.topic)?;
    check_name("event", &event.event)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
