//! Events about requests by HTTP.
//!
//! | event | result |
//! | --- | --- |
//! | `http_get {"url"}` | replies `{"status", "body"}`, or `{"failure"}`; further fields are `method`, `headers`, `timeout_ms` and `times`, how often to ask; the topic message `http_get` and the parameter `http_get` of a join are the same |
//! | `http_count {"url", "key"}` | adds one to a value of the store, with a request between the read and the write; replies `{"count", "body"}` |
//! | `http_send {"method", "url", "body"}` | sends a request as an effect, and pushes `http_answer` with the answer; with `times`, as often |
//! | `http_send_then_fail` | the same, and is then fault: failed |
//! | `deliver {"url", "body", "order", "expires_ms", "on_failure"}` | delivers a request, and stores `true` under `delivered:BODY`; replies `{"length"}`, the length of its id; with `times`, as often; the topic message `deliver` is the same |
//! | `deliver_then_fail` | the same, and is then fault: failed |
//!
//! The topic message `http_send` sends a request of the topic, and `handle_topic_info` broadcasts `http_answer` with the answer.
//! If a delivery with `on_failure` has failed, `handle_topic_info` counts it under `undelivered:URL`, and broadcasts that event;
//! with the event `fail` it is fault: failed.

use bennu_guest::prelude::*;

use super::Naughty;

/// The request that a client asks for.
#[derive(Deserialize)]
struct Wanted {
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    timeout_ms: Option<u64>,
    times: Option<u32>,
}

impl Wanted {
    fn request(&self, method: &str) -> http::Request {
        let mut request = http::Request::new(self.method.as_deref().unwrap_or(method), &self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match self.timeout_ms {
            Some(timeout) => request.timeout(Duration::from_millis(timeout)),
            None => request,
        }
    }
}

impl Naughty {
    /// Handles the event if it is one of the above.
    pub(crate) fn http(&self, socket: &mut Socket, event: &str, payload: &Payload) -> Option<Handled> {
        Some(match event {
            "http_get" => get(payload).and_then(reply),
            "http_count" => count(payload),
            "http_send" => send(payload, |request| request.send(socket, "http_answer")),
            "http_send_then_fail" => send(payload, |request| request.send(socket, "http_answer"))
                .and_then(|_| fail("asked to fail after a request")),
            "deliver" => deliver(payload),
            "deliver_then_fail" => deliver(payload).and_then(|_| fail("asked to fail after a delivery")),
            _ => return None,
        })
    }
}

/// A delivery that a client asks for.
#[derive(Deserialize)]
struct WantedDelivery {
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    order: Option<String>,
    expires_ms: Option<u64>,
    on_failure: Option<String>,
    times: Option<u32>,
}

/// Delivers a request.
pub(crate) fn deliver(payload: &Payload) -> Handled {
    let wanted: WantedDelivery = payload.parse()?;
    let mut id = String::new();
    for _ in 0..wanted.times.unwrap_or(1) {
        let mut delivery = http::Delivery::new(&wanted.url).body(wanted.body.clone());
        for (name, value) in &wanted.headers {
            delivery = delivery.header(name, value);
        }
        if let Some(order) = &wanted.order {
            delivery = delivery.order(order);
        }
        if let Some(expires) = wanted.expires_ms {
            delivery = delivery.expires(Duration::from_millis(expires));
        }
        if let Some(event) = &wanted.on_failure {
            delivery = delivery.on_failure(event);
        }
        id = delivery.send();
    }
    store::put(format!("delivered:{}", wanted.body), true);
    reply(json!({ "length": id.len() }))
}

/// Asks, and returns the last answer.
pub(crate) fn get(payload: &Payload) -> Result<Value, Error> {
    let wanted: Wanted = payload.parse()?;
    for _ in 1..wanted.times.unwrap_or(1) {
        let _ = wanted.request("GET").wait();
    }
    Ok(shown(wanted.request("GET").wait()))
}

/// An answer for a client.
pub(crate) fn shown(answer: Result<http::Response, http::Failure>) -> Value {
    match answer {
        Ok(response) => json!({ "status": response.status, "body": response.text() }),
        Err(failure) => json!({ "failure": failure.kind }),
    }
}

fn count(payload: &Payload) -> Handled {
    let key: String = payload.field("key")?;
    let count = store::get::<u64>(&key)?.unwrap_or(0) + 1;
    let body = http::get(&payload.field::<String>("url")?)?.text();
    store::put(&key, count);
    reply(json!({ "count": count, "body": body }))
}

fn send(payload: &Payload, mut send: impl FnMut(http::Request)) -> Handled {
    let wanted: Wanted = payload.parse()?;
    for _ in 0..wanted.times.unwrap_or(1) {
        send(wanted.request("POST").body(wanted.body.clone()));
    }
    ok()
}

/// Handles the topic message if it is one of the above.
pub(crate) fn message(topic: &mut Topic, event: &str, payload: &Payload) -> Option<Handled> {
    Some(match event {
        "http_get" => get(payload).and_then(reply),
        "http_send" => send(payload, |request| request.send(topic, "http_answer")),
        _ => return None,
    })
}

/// Handles an answer to the topic, or the end of a delivery.
pub(crate) fn told(topic: &mut Topic, message: &Message) -> Told {
    if let Some(http::Undelivered { url, status, reason, .. }) = http::undelivered(message) {
        if message.event == "fail" {
            return fail("asked to fail in handle_topic_info");
        }
        let key = format!("undelivered:{url}");
        let times = store::get::<u64>(&key)?.unwrap_or(0) + 1;
        store::put(key, times);
        topic.broadcast(&message.event, json!({ "url": url, "status": status, "reason": reason, "times": times }));
        return Ok(());
    }
    if let Some(answer) = http::answer(message) {
        topic.broadcast(&message.event, shown(answer));
    }
    Ok(())
}
