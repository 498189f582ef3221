//! The call that sends messages to topics, for their `handle_message`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytestring::ByteString;
use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;
use serde_json::value::RawValue;

use super::body::Body;
use super::idempotency::IdempotencyKey;
use super::keys::Caller;
use super::messages::{Event, Events, check_names};
use super::{Api, ApiError};
use crate::channel::{Delivered, IdempotentRequest, LateAnswer, Undelivered};
use crate::contract::Reply;
use crate::counts::Limit;
use crate::protocol::Payload;

/// The longest time that a caller may wait for the answer of a topic, in milliseconds.
const WAIT_MS_MAX: u64 = 300_000;

/// How many topics of a request with several messages are sent to at the same time.
const TOPICS_AT_ONCE: usize = 32;

/// A message that can be sent.
struct TopicMessage {
    topic: String,
    event: ByteString,
    payload: Payload,
    wait: Option<Duration>,
}

/// The answer of `POST /api/send` for one message.
#[derive(Serialize)]
struct Sent {
    reply: Option<Shown>,
}

/// The answer for several messages: the result of each, in their order.
#[derive(Serialize)]
struct Results {
    results: Vec<SendResult>,
}

/// The result of one of several messages.
#[derive(Serialize)]
#[serde(untagged)]
enum SendResult {
    Sent(Sent),
    Failed { error: ApiError },
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

/// `POST /api/send`. Answers when `handle_message` has run. Checks all messages before it sends the first one.
pub(super) async fn send(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let key = IdempotencyKey::read(&headers, &body)?;
    match Events::read(&body)? {
        Events::One(event) => {
            caller.check_topic(&event.topic)?;
            let message = TopicMessage::read(*event)?;
            Ok(Json(api.send_one(&message, key.as_ref(), 0).await?).into_response())
        }
        Events::Many(events) => {
            events.iter().try_for_each(|event| caller.check_topic(&event.topic))?;
            let read =
                |(at, event)| TopicMessage::read(event).map_err(|error| error.within(&format!("messages[{at}]")));
            let messages = events.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
            // In a task, so that all are sent even if the client closes its connection, which drops this handler's future.
            let sent = tokio::spawn(async move { api.send_many(messages, key).await });
            let results = sent.await.map_err(|_| ApiError::fault())?;
            Ok(Json(Results { results }).into_response())
        }
    }
}

impl TopicMessage {
    fn read(event: Event) -> Result<Self, ApiError> {
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
        if event.wait_ms.is_some_and(|wait_ms| wait_ms > WAIT_MS_MAX) {
            Limit::WaitMs.hit();
            return Err(ApiError::bad(format!("`wait_ms` must be at most {WAIT_MS_MAX}")));
        }
        let wait = event.wait_ms.map(Duration::from_millis);
        Ok(Self { topic: event.topic, event: event.event.into(), payload, wait })
    }
}

impl Api {
    /// Sends one message. `part` is its place in the request.
    async fn send_one(
        &self,
        message: &TopicMessage,
        key: Option<&IdempotencyKey>,
        part: usize,
    ) -> Result<Sent, ApiError> {
        let TopicMessage { topic, event, payload, wait } = message;
        let (event, payload) = (event.clone(), payload.clone());
        let delivered = match (key, wait) {
            (None, None) => Some(self.node.send(topic, event, payload).await),
            (None, Some(wait)) => self.node.send_and_wait(topic, event, payload, *wait).await,
            (Some(key), None) => {
                Some(self.node.send_once(topic, event, payload, key.of_part(part), LateAnswer::Ignored).await)
            }
            (Some(key), Some(wait)) => self.send_once_and_wait(message, key.of_part(part), *wait).await,
        };
        let delivered = delivered.ok_or_else(|| {
            Limit::WaitMs.hit();
            let wait_ms = wait.unwrap_or_default().as_millis();
            let message = format!("no answer came within {wait_ms} ms; the message itself may have been handled");
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, "no_answer", message)
        })?;
        let reply = delivered.map_err(|why| undelivered(topic, why))?;
        Ok(Sent { reply: reply.as_ref().map(Shown::of) })
    }

    /// Sends a message that takes effect once, and waits for its answer, which may come after the callback. Then it is stored, so that a
    /// repetition gets it.
    async fn send_once_and_wait(
        &self,
        message: &TopicMessage,
        request: Arc<IdempotentRequest>,
        wait: Duration,
    ) -> Option<Delivered> {
        let TopicMessage { topic, event, payload, .. } = message;
        let (node, topic, event, payload) = (Arc::clone(&self.node), topic.clone(), event.clone(), payload.clone());
        let sent = Arc::clone(&request);
        let send = || async move {
            let delivered = node.send_once(&topic, event, payload, Arc::clone(&sent), LateAnswer::Awaited).await;
            if let Ok(Some(reply)) = &delivered {
                node.keep_answer(&topic, &sent, reply).await;
            }
            delivered
        };
        self.answers.late.wait(&request, wait, send).await
    }

    /// Sends several messages: those to one topic one after another, and several topics at the same time.
    async fn send_many(&self, messages: Vec<TopicMessage>, key: Option<IdempotencyKey>) -> Vec<SendResult> {
        let mut topics = BTreeMap::<String, Vec<(usize, TopicMessage)>>::new();
        for (at, message) in messages.into_iter().enumerate() {
            topics.entry(message.topic.clone()).or_default().push((at, message));
        }
        let key = key.as_ref();
        let sending = topics.into_values().map(|messages| async move {
            let mut results = Vec::with_capacity(messages.len());
            for (at, message) in messages {
                self.node.pubsub.pressure.hold_back().await;
                let result = match self.send_one(&message, key, at).await {
                    Ok(sent) => SendResult::Sent(sent),
                    Err(error) => SendResult::Failed { error },
                };
                results.push((at, result));
            }
            results
        });
        let done: Vec<Vec<_>> = stream::iter(sending).buffer_unordered(TOPICS_AT_ONCE).collect().await;
        let mut results: Vec<_> = done.into_iter().flatten().collect();
        results.sort_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, result)| result).collect()
    }
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
        Undelivered::SetAside(refusal) => {
            let seconds = refusal.seconds();
            let message = format!(
                "the plugin that serves `{topic}` is set aside because of its faults; try again in {seconds} s"
            );
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "set_aside", message)
        }
        // Only the kind of the fault: the details are in the log, and clients of the API must not see them.
        Undelivered::Fault(fault) => {
            let message = format!("`handle_message` failed ({}); the host's log says why", fault.kind.as_str());
            ApiError::new(StatusCode::BAD_GATEWAY, "fault", message)
        }
        Undelivered::KeyReused => ApiError::key_reused(),
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
