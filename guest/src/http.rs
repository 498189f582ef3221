//! Requests by HTTP to other programs, such as the application's own backend.
//!
//! The operator grants the URLs, in `plugins.NAME.http` of the host's configuration. Secrets such as an API key are added by the
//! host, and the plugin never sees them.
//!
//! # Asking and waiting
//!
//! [`get`] waits for the answer in the middle of a callback. `join`, `handle_in`, `handle_info`, `handle_message`,
//! `handle_topic_info`, `handle_tick`, `handle_seat` and a gatekeeper may wait. A callback may run again, and then gets the
//! same answer.
//!
//! ```
//! use bennu_guest::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Customer {
//!     name: String,
//! }
//!
//! impl Channel for Customer {
//!     type Room = ();
//!
//!     fn join(_socket: &mut Socket, params: Payload) -> Join<Self> {
//!         let id: u64 = params.field("id")?;
//!         Ok(http::get(&format!("https://shop.example/customers/{id}"))?.success()?.json()?)
//!     }
//! }
//!
//! let setup = testing::Setup::new().http("GET", "https://shop.example/customers/7", 200, json!({ "name": "Ada" }));
//! let ada = setup.join::<Customer>("shop", json!({ "id": 7 })).unwrap();
//! assert_eq!(ada.assigns().name, "Ada");
//!
//! let refused = testing::join::<Customer>("shop", json!({ "id": 8 })).err().unwrap();
//! assert_eq!(refused.reply(), ("error", json!({ "reason": "unavailable" })));
//! ```
//!
//! In a topic with a room, or with `Turns::Topic`, the other callbacks of the topic wait meanwhile. There a request that is an
//! effect is better.
//!
//! # Asking as an effect
//!
//! [`Request::send`] sends a request with any method after the callback has succeeded, at most once. The member's `handle_info`
//! gets the answer, or the topic's `handle_topic_info` if a callback of the topic sends it.
//!
//! ```
//! use bennu_guest::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order;
//!
//! impl Channel for Order {
//!     type Room = ();
//!
//!     fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
//!         Ok(Order)
//!     }
//!
//!     fn handle_in(&mut self, socket: &mut Socket, _event: &str, payload: Payload) -> Handled {
//!         let order = payload.parse::<Value>()?;
//!         http::Request::post("https://shop.example/orders").json(&order).send(socket, "ordered");
//!         ok()
//!     }
//!
//!     fn handle_info(&mut self, socket: &mut Socket, message: Message) -> Handled {
//!         if let Some(answer) = http::answer(&message) {
//!             let is_accepted = answer.is_ok_and(|response| response.is_success());
//!             socket.push(&message.event, json!({ "accepted": is_accepted }));
//!         }
//!         no_reply()
//!     }
//! }
//!
//! let setup = testing::Setup::new().http("POST", "https://shop.example/orders", 201, json!({}));
//! let mut ada = setup.join::<Order>("shop", json!({})).unwrap();
//! ada.push("order", json!({ "item": 3 }));
//! assert_eq!(ada.advance(Duration::ZERO)[0].pushes(), [("ordered", json!({ "accepted": true }))]);
//! ```

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use crate::delivery::{Delivery, Undelivered, undelivered};

use crate::bindings::bennu::channel::http::Header;
use crate::bindings::bennu::channel::types::Setting;
use crate::error::words;
use crate::host::http;
use crate::output::as_json;
use crate::{Error, IntoPayload, Message, Payload, Socket, Topic, check};

/// Asks a server, and waits for its answer.
///
/// # Errors
///
/// There is no answer. With `?`, this is an `error` reply to the client, or it refuses the join: `{"reason": "unavailable"}`.
///
/// # Faults
///
/// `failed`: the URL isn't granted, or breaks a rule, or the callback may not wait.
pub fn get(url: &str) -> Result<Response, Failure> {
    Request::get(url).wait()
}

/// A request.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until `wait` or `send`"]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<Header>,
    body: Vec<u8>,
    timeout: Option<Duration>,
}

impl Request {
    /// A request with any method, such as `PUT`.
    pub fn new(method: &str, url: &str) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// A `GET`.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// A `POST`.
    pub fn post(url: &str) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to a value as JSON, with the header `content-type`.
    pub fn json(self, value: &impl Serialize) -> Self {
        self.header("content-type", "application/json").body(as_json(value))
    }

    /// Limits the time to the end of the answer. The host's limit still counts: `http_get_ms` or `http_ms`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends a `GET` or a `HEAD`, and waits for its answer.
    ///
    /// # Errors
    ///
    /// See [`get`].
    pub fn wait(self) -> Result<Response, Failure> {
        let settings = self.settings();
        let answer = http::get(&self.method, &self.url, &self.headers, &settings);
        answer.map(Response::from).map_err(|failure| Failure { kind: failure.kind, detail: failure.detail })
    }

    /// Effect: sends the request after the callback has succeeded, at most once. The answer comes as a message with this event to
    /// the member's [`handle_info`](crate::Channel::handle_info), or, in a callback of a topic, to its
    /// [`handle_topic_info`](crate::Channel::handle_topic_info): see [`answer`]. The server gets a header `idempotency-key`.
    #[track_caller]
    pub fn send(self, _from: &mut impl Sender, event: &str) {
        let event = check::name("the key of a request", event);
        http::request(event, &self.method, &self.url, &self.headers, &self.body, &self.settings());
    }

    fn settings(&self) -> Vec<Setting> {
        let setting =
            |timeout: Duration| Setting { name: "timeout-ms".into(), value: timeout.as_millis().max(1).to_string() };
        self.timeout.map(setting).into_iter().collect()
    }
}

/// What can send a request as an effect: a [`Socket`] or a [`Topic`].
pub trait Sender: sealed::Sealed {}

impl<R> Sender for Socket<R> {}
impl<R> Sender for Topic<R> {}

mod sealed {
    /// A later version may give the senders something to do.
    pub trait Sealed {}

    impl<R> Sealed for crate::Socket<R> {}
    impl<R> Sealed for crate::Topic<R> {}
}

/// An answer, with any status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// Names, in lower case, and values of the headers.
    pub headers: Vec<(String, String)>,
    /// The body, decoded.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the status is from 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the answer if the status is from 200 to 299.
    ///
    /// # Errors
    ///
    /// Another status. The kind of the failure is `status`.
    pub fn success(self) -> Result<Self, Failure> {
        if self.is_success() {
            return Ok(self);
        }
        Err(Failure { kind: "status".into(), detail: format!("the server answered with the status {}", self.status) })
    }

    /// Returns the first header with a name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// Returns the body as text. Invalid UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// The body isn't a `T`. The kind of the failure is `broken`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure { kind: "broken".into(), detail: format!("the body: {}", words(&error)) })
    }
}

/// The reason why there is no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `busy`, `timeout`, `too-large`, `unreachable`, `broken`, `redirect`, or `status` from [`Response::success`]. Later hosts may
    /// add kinds.
    pub kind: String,
    /// A text for a log.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind, self.detail)
    }
}

impl std::error::Error for Failure {}

/// A server that doesn't answer is neither the client's mistake nor the plugin's failure. The client gets an `error` reply, and the
/// member stays. The detail is logged as a warning.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        crate::log::warn!("http: {failure}");
        Error::Refused(json!({ "reason": "unavailable" }).into_payload())
    }
}

/// Returns the answer in a message of `handle_info` or `handle_topic_info` to a request that was sent as an effect. `None` if the message is another one.
pub fn answer(message: &Message) -> Option<Result<Response, Failure>> {
    if message.source != "http" {
        return None;
    }
    let unreadable = || Failure { kind: "broken".into(), detail: "the message can't be read".into() };
    let Payload::Json(text) = &message.payload else { return Some(Err(unreadable())) };
    if undelivered(message).is_some() {
        return None;
    }
    Some(match serde_json::from_str(text) {
        Ok(Told::Answer { status, headers, body, body_base64 }) => {
            let body = body.map(String::into_bytes).or_else(|| decoded(&body_base64?)).unwrap_or_default();
            Ok(Response { status, headers, body })
        }
        Ok(Told::Failure { failure, detail }) => Err(Failure { kind: failure, detail }),
        Err(_) => Err(unreadable()),
    })
}

/// The payload of such a message.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Answer { status: u16, headers: Vec<(String, String)>, body: Option<String>, body_base64: Option<String> },
    Failure { failure: String, detail: String },
}

/// Decodes base64 with padding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

impl From<crate::bindings::bennu::channel::http::Response> for Response {
    fn from(response: crate::bindings::bennu::channel::http::Response) -> Self {
        let headers = response.headers.into_iter().map(|header| (header.name, header.value)).collect();
        Self { status: response.status, headers, body: response.body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> Message {
        let payload = Payload::Json(payload.into());
        Message { source: "http".into(), topic: "t".into(), event: "e".into(), payload }
    }

    #[test]
    fn an_answer_is_read_from_a_message() {
        let read = |payload| answer(&message(payload));
        let expected = |body: &[u8]| {
            Some(Ok(Response { status: 200, headers: vec![("a".into(), "b".into())], body: body.into() }))
        };
        assert_eq!(read(r#"{"status":200,"headers":[["a","b"]],"body":"x"}"#), expected(b"x"));
        assert_eq!(read(r#"{"status":200,"headers":[["a","b"]],"body_base64":"/wA="}"#), expected(b"\xff\0"));
        let failure = Failure { kind: "timeout".into(), detail: "d".into() };
        assert_eq!(read(r#"{"failure":"timeout","detail":"d"}"#), Some(Err(failure)));
        let ended = message(r#"{"delivery":"d","url":"u","status":null,"reason":"timeout"}"#);
        assert_eq!((answer(&ended), undelivered(&ended).map(|ended| ended.url)), (None, Some("u".into())));
        assert_eq!(answer(&Message { source: "self".into(), ..message("{}") }), None);
    }
}
