//! Deliveries: requests that are stored, and sent until the server accepts them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bindings::bennu::channel::http::Header;
use crate::bindings::bennu::channel::types::Setting;
use crate::host::http;
use crate::output::as_json;
use crate::{Message, Payload, check};

/// A `POST` that the host stores and sends until the server accepts it: a webhook to your application, for example.
///
/// It is stored together with the other writes of the callback, so it is sent exactly if the callback succeeds, also after a restart of
/// the host. The server may receive it more than once, always with the same header `webhook-id`. A status from 200 to 299 accepts it,
/// and 410 drops it. After anything else, the host tries again with growing delays, for a day. Then it is kept, and an operator can
/// retry or drop it (`bennu deliveries`). If the operator has set a secret for the server (`http_signing`), each attempt is signed as
/// Standard Webhooks defines it.
///
/// ```
/// use bennu_guest::prelude::*;
///
/// #[derive(Serialize, Deserialize)]
/// struct Order;
///
/// impl Channel for Order {
///     type Room = ();
///
///     fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
///         Ok(Order)
///     }
///
///     fn handle_in(&mut self, socket: &mut Socket, event: &str, _payload: Payload) -> Handled {
///         let order = socket.topic().to_owned();
///         http::Delivery::new("https://shop.example/hooks/orders")
///             .json(&json!({ "type": event, "order": order }))
///             .order(&order)
///             .send();
///         ok()
///     }
/// }
///
/// let stage = testing::Stage::new()
///     .http("POST", "https://shop.example/hooks/orders", 204, json!(null))
///     .channel::<Order>("order:*");
/// let mut cook = stage.join("order:7", json!({})).unwrap();
/// cook.push("cooked", json!({}));
/// assert_eq!(stage.deliveries()[0].state, "waiting");
/// stage.advance(Duration::ZERO);
/// let delivery = &stage.deliveries()[0];
/// assert_eq!(delivery.state, "accepted");
/// assert_eq!(delivery.json::<Value>(), json!({ "type": "cooked", "order": "order:7" }));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a delivery does nothing until `send`"]
pub struct Delivery {
    url: String,
    headers: Vec<Header>,
    body: Vec<u8>,
    settings: Vec<Setting>,
}

impl Delivery {
    /// A delivery to a URL, which the operator must grant.
    pub fn new(url: &str) -> Self {
        Self { url: url.into(), headers: Vec::new(), body: Vec::new(), settings: Vec::new() }
    }

    /// Adds a header. Those whose names begin with `webhook-` are the host's.
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

    /// Deliveries of the plugin with the same key are sent one after the other, in the order in which they were asked for. So a server
    /// that doesn't answer holds back all later ones with this key, until the first one is accepted, refused or given up.
    #[track_caller]
    pub fn order(self, key: &str) -> Self {
        self.set("order", check::name("the order key of a delivery", key).into())
    }

    /// The time after which it is given up. Default: a day; at most a week.
    pub fn expires(self, time: Duration) -> Self {
        self.set("expires-ms", time.as_millis().max(1).to_string())
    }

    /// If the delivery is refused or given up, the topic's `handle_topic_info` gets this event, and [`undelivered`] reads the message.
    /// It is stored together with the end of the delivery, so it isn't lost. If the callback fails, the host tries again, five times.
    #[track_caller]
    pub fn on_failure(self, event: &str) -> Self {
        self.set("on-failure", check::name("the event of a delivery's failure", event).into())
    }

    /// Makes it a push message for a browser, with the keys of its subscription (`PushSubscription.toJSON().keys`). The URL is the
    /// `endpoint` of the subscription. The statuses 404 and 410 refuse it: the subscription has ended. The host encrypts the body at each attempt, and identifies itself to the push service. The
    /// body has at most 3,993 bytes.
    pub fn push(self, p256dh: &str, auth: &str) -> Self {
        self.set("push-p256dh", p256dh.into()).set("push-auth", auth.into())
    }

    /// Effect: stores the delivery with the other writes of the callback. Returns its id, which the server gets as `webhook-id`.
    #[allow(clippy::must_use_candidate, reason = "most callers don't need the id")]
    pub fn send(self) -> String {
        http::deliver(&self.url, &self.headers, &self.body, &self.settings)
    }

    fn set(mut self, name: &str, value: String) -> Self {
        self.settings.push(Setting { name: name.into(), value });
        self
    }
}

/// A delivery that was refused or given up, as `handle_topic_info` is told of it: see [`Delivery::on_failure`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Undelivered {
    /// Its id, which [`Delivery::send`] has returned.
    pub delivery: String,
    /// Its URL.
    pub url: String,
    /// The status of the last answer. `None` if there was no answer.
    pub status: Option<u16>,
    /// What happened at the last attempt, such as `status 503`.
    pub reason: String,
}

/// Returns the delivery that a message of `handle_topic_info` is about. `None` if the message is another one.
#[must_use]
pub fn undelivered(message: &Message) -> Option<Undelivered> {
    match &message.payload {
        Payload::Json(text) if message.source == "http" => serde_json::from_str(text).ok(),
        _ => None,
    }
}
