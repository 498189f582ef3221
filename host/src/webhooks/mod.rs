//! Webhooks of the configuration: what happens in topics, delivered to programs outside.
//!
//! A webhook reads the log of events that `GET /api/events` reads, and stores a delivery for each event that it wants. From then on an
//! event isn't lost. The log itself is in memory, so a crash loses the events of the last moments before it. The first
//! delivery after each start of the host says so (`start`), and `missed` says that the webhook was too slow for the log.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat};
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::contract::NowMs;
use crate::contract::deliveries::{Delivery, DeliveryRow};
use crate::counts::Limit;
use crate::protocol::{Pattern, Payload, Topic, event};
use crate::pubsub::{EventLog, EventReader, MemberInfo, ReadEvent, TopicEvent, TopicEventKind};
use crate::store::{Owner, Store};

/// The most events that are stored with one commit.
const BATCH_MAX: usize = 64;

/// The most bytes of a payload. A larger one is left out, because the receiver or the host's limits may not take it.
const PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// The most bytes of a body. Past it the payload is left out, too: a delivery has its numbers written out, such as 9000000000000000.0 for
/// 9e15, so it may have four times the bytes.
const BODY_BYTES_MAX: usize = 768 << 10;

/// The least bytes that the deliveries of a webhook must be allowed to have together. Besides its body, a delivery has a few names and a
/// URL, of which each has at most 255 bytes. So each event fits, alone. One that doesn't would wait for ever, with all later ones.
pub const DELIVERY_BYTES_MIN: u64 = 1 << 20;

/// The pause after deliveries couldn't be stored: the store has failed, or the webhook has too many deliveries. Meanwhile the log
/// keeps the events.
const PAUSE: Duration = Duration::from_secs(1);

/// What a webhook gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookEvent {
    /// A broadcast.
    Broadcast,
    /// A member has joined.
    Join,
    /// A member has ended.
    Leave,
    /// The presences of a topic have changed.
    Presence,
}

/// A webhook of the configuration.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The owner of its deliveries. Its name is that of its grant.
    pub owner: Owner,
    /// The URL.
    pub url: String,
    /// The topics.
    pub topics: Vec<Pattern>,
    /// The events.
    pub events: Vec<WebhookEvent>,
}

/// Stores the events of one webhook.
pub struct WebhookTask {
    webhook: Webhook,
    reader: EventReader,
    store: Store,
    clock: NowMs,
    asked: mpsc::Receiver<Asked>,
    ask: mpsc::Sender<Asked>,
}

/// Is answered when the deliveries for all events that have happened are stored.
type Asked = oneshot::Sender<()>;

/// The webhooks of a host, while their tasks run.
#[derive(Clone)]
pub struct Webhooks(Vec<mpsc::Sender<Asked>>);

impl Webhooks {
    /// The webhooks of these tasks.
    #[must_use]
    pub fn of(tasks: &[WebhookTask]) -> Self {
        Self(tasks.iter().map(|task| task.ask.clone()).collect())
    }

    /// Waits until the deliveries for all events that have happened are stored.
    pub async fn caught_up(&self) {
        for ask in &self.0 {
            let (asked, answered) = oneshot::channel();
            // If the task has ended, the host is stopping.
            if ask.send(asked).await.is_ok() {
                let _ = answered.await;
            }
        }
    }
}

/// The name of the owner of a webhook's deliveries. No plugin has this name, because the name of a file has no slash.
#[must_use]
pub fn owner_name(url: &str) -> String {
    format!("webhook:{url}")
}

impl WebhookEvent {
    /// All events.
    pub const ALL: [Self; 4] = [Self::Broadcast, Self::Join, Self::Leave, Self::Presence];

    /// Its name, in the configuration and in a delivery.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Presence => "presence",
        }
    }
}

impl WebhookTask {
    /// A task that gets all events from now on.
    #[must_use]
    pub fn new(webhook: Webhook, log: &Arc<EventLog>, store: Store, clock: NowMs) -> Self {
        let reader = log.read_for_host(webhook.topics.clone());
        let (ask, asked) = mpsc::channel(1);
        Self { webhook, reader, store, clock, asked, ask }
    }

    /// Runs until the host stops.
    pub async fn run(mut self) {
        let mut rows = vec![self.row("start", &json!({}), None)];
        loop {
            while rows.len() < BATCH_MAX {
                // Only the first event is worth a wait.
                let next = if rows.is_empty() {
                    tokio::select! {
                        read = self.reader.next() => Some(read),
                        Some(asked) = self.asked.recv() => {
                            self.catch_up(&mut rows).await;
                            let _ = asked.send(());
                            continue;
                        }
                    }
                } else {
                    self.reader.next().now_or_never()
                };
                match next {
                    Some(Some(read)) => rows.extend(self.read(&read)),
                    Some(None) => return pending().await,
                    None => break,
                }
            }
            self.store(&rows).await;
            rows.clear();
        }
    }

    /// Stores all events that have happened.
    async fn catch_up(&mut self, rows: &mut Vec<(String, DeliveryRow)>) {
        while !self.reader.is_at_end() {
            tokio::select! {
                biased;
                Some(read) = self.reader.next() => rows.extend(self.read(&read)),
                // The reader passes over events that it doesn't want, and then waits.
                () = tokio::task::yield_now() => {}
            }
            if rows.len() >= BATCH_MAX {
                self.store(rows).await;
                rows.clear();
            }
        }
        self.store(rows).await;
        rows.clear();
    }

    /// The delivery for an event of the log, if the webhook wants it.
    fn read(&self, read: &ReadEvent) -> Option<(String, DeliveryRow)> {
        let ReadEvent::Event(event) = read else {
            tracing::warn!(url = self.webhook.url, "a webhook was too slow, so it has missed events");
            return Some(self.row("missed", &json!({}), None));
        };
        // The node at which it happened stores a delivery, so that there is one.
        if event.is_from_elsewhere {
            return None;
        }
        let (kind, data) = shown(event, PAYLOAD_BYTES_MAX);
        if !self.webhook.events.contains(&kind) {
            return None;
        }
        let delivery = self.row(kind.name(), &data, Some(&event.topic));
        if delivery.1.body.len() <= BODY_BYTES_MAX {
            return Some(delivery);
        }
        let (_, without_payload) = shown(event, 0);
        Some(self.row(kind.name(), &without_payload, Some(&event.topic)))
    }

    /// A delivery. Those of a topic are sent in their order.
    fn row(&self, kind: &str, data: &Value, topic: Option<&Topic>) -> (String, DeliveryRow) {
        let now_ms = (self.clock)();
        let time = i64::try_from(now_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
        let timestamp = time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let body = json!({ "type": kind, "timestamp": timestamp, "data": data }).to_string().into();
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        let order = Some(topic.map_or("", |topic| topic.as_str()).into());
        let delivery = Delivery { order, ..Delivery::new(self.webhook.url.clone(), headers, body) };
        (self.store.unique_id(), DeliveryRow::new(delivery, self.webhook.owner.name(), topic, now_ms))
    }

    /// Stores deliveries, as soon as that is possible. A refused part is halved, because the limits of deliveries may have room for
    /// fewer, or be smaller than a batch.
    async fn store(&self, mut rows: &[(String, DeliveryRow)]) {
        let (mut size, mut has_failed) = (rows.len(), false);
        while !rows.is_empty() {
            let (part, rest) = rows.split_at(size.min(rows.len()));
            match self.store.add_deliveries(&self.webhook.owner, part).await {
                Ok(()) => (rows, size) = (rest, size * 2),
                Err(_) if part.len() > 1 => size = part.len() / 2,
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        // Once, as the log: the attempts of the same wait aren't further hits of a limit.
                        Limit::hit_named(&format!("{error:#}"));
                        let url = &self.webhook.url;
                        tracing::error!(url, "the events of a webhook can't be stored, and wait: {error:#}");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The kind of an event, and its data. A payload of more than `payload_max` bytes is left out.
fn shown(event: &TopicEvent, payload_max: usize) -> (WebhookEvent, Value) {
    let topic = event.topic.as_str();
    match &event.kind {
        TopicEventKind::Broadcast { event: name, payload } => {
            let is_presence = &**name == event::PRESENCE_DIFF;
            let mut data = json!({ "topic": topic });
            if !is_presence {
                data["event"] = Value::from(&**name);
            }
            match payload {
                _ if payload.len() > payload_max => {
                    Limit::WebhookPayload.hit();
                    data["payload_bytes"] = payload.len().into();
                }
                Payload::Json(text) => data["payload"] = read(text),
                Payload::Binary(bytes) => data["payload_base64"] = BASE64_STANDARD.encode(bytes).into(),
            }
            (if is_presence { WebhookEvent::Presence } else { WebhookEvent::Broadcast }, data)
        }
        TopicEventKind::Join(member) => (WebhookEvent::Join, told(topic, member)),
        TopicEventKind::Leave(member) => (WebhookEvent::Leave, told(topic, member)),
    }
}

/// A payload as a value. A payload only has to follow JSON's grammar, so it may be too deep for a value; then it is a string.
fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn told(topic: &str, MemberInfo { member, user, socket_id }: &MemberInfo) -> Value {
    json!({ "topic": topic, "member": member, "user": user, "socket_id": socket_id })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::contract::limits::DeliveryLimits;
    use crate::protocol::NAME_BYTES_MAX;
    use crate::store::{QUOTA_BYTES, StoreLimits};

    /// A webhook with the longest URL, in a store that takes one delivery.
    fn task() -> WebhookTask {
        let start = "https://a.example/";
        let url = start.to_owned() + &"x".repeat(NAME_BYTES_MAX - owner_name(start).len());
        let owner = Owner::new(&owner_name(&url), QUOTA_BYTES).unwrap();
        let deliveries = DeliveryLimits { per_plugin: 1, bytes_per_plugin: DELIVERY_BYTES_MIN };
        let store = Store::in_memory(StoreLimits { deliveries, ..StoreLimits::default() }).unwrap();
        let webhook = Webhook { owner, url, topics: Vec::new(), events: WebhookEvent::ALL.to_vec() };
        WebhookTask::new(webhook, &Arc::default(), store, Arc::new(|| 0))
    }

    /// What a webhook stores for something that happens in a topic.
    async fn stored(kind: TopicEventKind) -> Value {
        let (task, topic) = (task(), Topic::new(&"\u{1}".repeat(NAME_BYTES_MAX)));
        let event = TopicEvent { number: 1, topic, kind, is_from_elsewhere: false };
        let delivery = task.read(&ReadEvent::Event(Arc::new(event))).unwrap();
        let (deliveries, owner) = (std::slice::from_ref(&delivery), &task.webhook.owner);
        task.store.add_deliveries(owner, deliveries).await.unwrap();
        let mut body: Value = serde_json::from_slice(&delivery.1.body).unwrap();
        body["data"].take()
    }

    #[tokio::test]
    async fn each_event_fits_into_the_least_bytes_that_a_host_with_webhooks_allows() {
        // Names of which each byte is six in JSON.
        let name = "\u{1}".repeat(NAME_BYTES_MAX);
        let of = |payload| TopicEventKind::Broadcast { event: name.clone().into(), payload };
        let bytes = stored(of(Payload::Binary(vec![0xff; PAYLOAD_BYTES_MAX].into()))).await;
        assert_eq!(bytes["payload_base64"].as_str().map(str::len), Some(PAYLOAD_BYTES_MAX.div_ceil(3) * 4));
        // It is too deep for a value, so it is a text in which each of these characters is two.
        let backslashes = "\\\\".repeat((PAYLOAD_BYTES_MAX - 402) / 2);
        let deep = ["[".repeat(200), format!("\"{backslashes}\""), "]".repeat(200)].concat();
        let text = stored(of(Payload::Json(deep.as_str().into()))).await;
        assert_eq!((deep.len(), text["payload"].as_str()), (PAYLOAD_BYTES_MAX, Some(&*deep)));
        let numbers = format!("[{}]", vec!["9e15"; (PAYLOAD_BYTES_MAX - 1) / 5].join(","));
        assert!(numbers.len() <= PAYLOAD_BYTES_MAX);
        let left_out = stored(of(Payload::Json(numbers.as_str().into()))).await;
        assert_eq!((left_out["payload_bytes"].as_u64(), left_out.get("payload")), (Some(numbers.len() as u64), None));
        let name: Option<Box<str>> = Some(name.as_str().into());
        let member = stored(TopicEventKind::Join(MemberInfo { member: u64::MAX, user: name.clone(), socket_id: name }));
        assert_eq!(member.await["member"], u64::MAX);
    }
}
