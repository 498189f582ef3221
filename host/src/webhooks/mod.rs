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
        let (kind, data) = shown(event);
        self.webhook.events.contains(&kind).then(|| self.row(kind.name(), &data, Some(&event.topic)))
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
                        let url = &self.webhook.url;
                        tracing::error!(url, "the events of a webhook can't be stored, and wait: {error:#}");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The kind of an event, and its data.
fn shown(event: &TopicEvent) -> (WebhookEvent, Value) {
    let topic = event.topic.as_str();
    match &event.kind {
        TopicEventKind::Broadcast { event: name, payload } => {
            let is_presence = &**name == event::PRESENCE_DIFF;
            let mut data = json!({ "topic": topic });
            if !is_presence {
                data["event"] = Value::from(&**name);
            }
            match payload {
                _ if payload.len() > PAYLOAD_BYTES_MAX => {
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
