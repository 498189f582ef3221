//! `GET /api/events`: the events of topics, as server-sent events.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::keys::Caller;
use super::{Api, ApiError};
use crate::protocol::{Pattern, Payload, event};
use crate::pubsub::{
    Epoch, EventReader, MemberInfo, PATTERNS_MAX, Position, READERS_MAX, ReadEvent, TooManyReaders, TopicEvent,
    TopicEventKind,
};

/// After this time without an event, a comment is sent, so that proxies don't close the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The header with the id of the last event that a client got, as the HTML standard names it.
const LAST_EVENT_ID: &str = "last-event-id";

/// `GET /api/events?topic=..&topic=..`.
pub(super) async fn events(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let patterns = patterns(uri.query().unwrap_or_default())?;
    patterns.iter().try_for_each(|pattern| caller.check_pattern(pattern))?;
    let since = headers.get(LAST_EVENT_ID).map(|id| position(id.to_str().unwrap_or_default()));
    let (reader, is_complete) = api.node.pubsub.events.read(patterns, since).map_err(|TooManyReaders| {
        let message = format!("this host has {READERS_MAX} streams of events already, and no more at a time");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", message)
    })?;
    let first = text(if is_complete { "start" } else { "missed" }, reader.position(), "{}");
    let body = Body::from_stream(stream::unfold((Some(first), reader, caller), next));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Tells nginx to pass on each event at once.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// The next part of a stream. The body asks for it when the last part was written, so a slow client reads the log slowly, and
/// nothing is queued for it. The stream ends when its key is removed.
async fn next(
    (first, mut reader, mut caller): (Option<String>, EventReader, Caller),
) -> Option<(Result<String, Infallible>, (Option<String>, EventReader, Caller))> {
    let part = match first {
        Some(first) => first,
        None => {
            let event = tokio::select! {
                // First, so that nothing is shown any more after the key was removed.
                biased;
                () = caller.removed() => return None,
                event = timeout(KEEP_ALIVE, reader.next()) => event,
            };
            match event {
                Err(_) => ":\n\n".to_owned(),
                Ok(None) => return None,
                Ok(Some(ReadEvent::Missed)) => text("missed", reader.position(), "{}"),
                Ok(Some(ReadEvent::Event(event))) => shown(&event, reader.position()),
            }
        }
    };
    Some((Ok(part), (None, reader, caller)))
}

/// Reads the patterns of the topics.
fn patterns(query: &str) -> Result<Vec<Pattern>, ApiError> {
    let mut patterns = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "topic" {
            return Err(ApiError::bad(format!("this call has no parameter `{name}`, only `topic`")));
        }
        let pattern = Pattern::parse(&value).map_err(|error| ApiError::bad(format!("topic `{value}`: {error}")))?;
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    match patterns.len() {
        0 => Err(ApiError::bad("name at least one topic, such as `?topic=room:lobby` or `?topic=room:*`")),
        1..=PATTERNS_MAX => Ok(patterns),
        many => Err(ApiError::bad(format!("at most {PATTERNS_MAX} topics, not {many}"))),
    }
}

/// Reads an id. One that isn't of this API is a position that isn't known.
fn position(id: &str) -> Position {
    let known = id
        .split_once('-')
        .and_then(|(epoch, number)| Some(Position { epoch: Epoch::parse(epoch)?, number: number.parse().ok()? }));
    known.unwrap_or(Position { epoch: Epoch::UNKNOWN, number: 0 })
}

/// An event as text.
fn shown(event: &TopicEvent, position: Position) -> String {
    let topic = event.topic.as_str();
    match &event.kind {
        TopicEventKind::Broadcast { event, payload } => {
            let is_presence = &**event == event::PRESENCE_DIFF;
            let mut data = format!("{{\"topic\":{}", Value::from(topic));
            if !is_presence {
                let _ = write!(data, ",\"event\":{}", Value::from(&**event));
            }
            match payload {
                // A line break in JSON is never inside of a string. In an event it would end the line.
                Payload::Json(json) => {
                    let _ = write!(data, ",\"payload\":{}}}", json.replace(['\r', '\n'], " "));
                }
                Payload::Binary(bytes) => {
                    let _ = write!(data, ",\"payload_base64\":\"{}\"}}", BASE64_STANDARD.encode(bytes));
                }
            }
            text(if is_presence { "presence" } else { "broadcast" }, position, &data)
        }
        TopicEventKind::Join(member) => text("join", position, &told(topic, member)),
        TopicEventKind::Leave(member) => text("leave", position, &told(topic, member)),
    }
}

fn told(topic: &str, MemberInfo { member, user, socket_id }: &MemberInfo) -> String {
    json!({ "topic": topic, "member": member, "user": user, "socket_id": socket_id }).to_string()
}

/// An event of the stream: its kind, the position after it, and its data in one line.
fn text(kind: &str, Position { epoch, number }: Position, data: &str) -> String {
    format!("event: {kind}\nid: {epoch}-{number}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Topic;

    #[test]
    fn topics_are_read_and_anything_else_is_refused() {
        let read = |query| patterns(query).map(|patterns| patterns.len()).map_err(|error| error.status.as_u16());
        assert_eq!(read("topic=room%3A1&topic=b*&topic=b*"), Ok(2));
        let many: String = (0..=PATTERNS_MAX).map(|number| format!("&topic={number}")).collect();
        for refused in ["", "topic=", "topic=a*b", "other=1", &many[1..]] {
            assert_eq!(read(refused), Err(400), "{refused}");
        }
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let known = Position { epoch: Epoch::parse("00000000000000ff").expect("an epoch"), number: 7 };
        assert_eq!(text("start", known, "{}"), "event: start\nid: 00000000000000ff-7\ndata: {}\n\n");
        assert_eq!(position("00000000000000ff-7"), known);
        for unknown in ["", "7", "ff-7", "00000000000000ff-", "00000000000000ff-x"] {
            assert_eq!(position(unknown).epoch, Epoch::UNKNOWN, "{unknown}");
        }
    }

    #[test]
    fn a_payload_with_line_breaks_is_one_line() {
        let (event, payload) = ("e\n".into(), Payload::Json("{\r\n\"a\":\n1}".into()));
        let kind = TopicEventKind::Broadcast { event, payload };
        let event = TopicEvent { number: 1, topic: Topic::new("a\"b"), kind, is_from_elsewhere: false };
        let text = shown(&event, position(""));
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
        let data: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(
            (text.lines().count(), data),
            (4, json!({ "topic": "a\"b", "event": "e\n", "payload": { "a": 1 } }))
        );
    }
}
