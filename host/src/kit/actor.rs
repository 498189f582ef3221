//! A member on stage, in the words of `Phoenix.ChannelTest`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::client::{Came, Client};
use super::pattern;

/// Somebody who has joined a topic.
///
/// An assertion looks through all that has come and wasn't asserted yet, in whatever order, takes what it finds, and fails
/// with a list of what came instead. An expected object matches one that has its fields, and perhaps others.
pub struct Actor {
    client: Client,
    topic: String,
    join_ref: String,
    response: Value,
}

/// A message that was sent, and may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed(String);

impl Actor {
    pub(super) fn join(mut client: Client, topic: &str, payload: &Value) -> Result<Self, Value> {
        let join_ref = client.push(topic, "phx_join", payload);
        let mut member = Self { client, topic: topic.to_owned(), join_ref, response: Value::Null };
        let reply = Pushed(member.join_ref.clone());
        let (status, response) = member.take_reply(&reply).unwrap_or_else(|| member.fail("the reply to the join"));
        if status != "ok" {
            return Err(response);
        }
        member.response = response;
        Ok(member)
    }

    /// What the join was answered.
    #[must_use]
    pub fn response(&self) -> &Value {
        &self.response
    }

    /// Sends an event.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn push(&mut self, event: &str, payload: Value) -> Pushed {
        Pushed(self.client.push(&self.topic, event, &payload))
    }

    /// The message was answered so.
    ///
    /// # Panics
    /// Where it wasn't, as all of these.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn assert_reply(&mut self, to: &Pushed, status: &str, response: Value) {
        let wanted = |frame: &Frame<'_>| {
            let reply = frame.reply_to(to);
            reply.is_some_and(|(came, value)| came == status && has(&response, value))
        };
        self.assert(wanted, &format!("a reply `{status}` with {response}"));
    }

    /// The message was not answered.
    ///
    /// # Panics
    /// Where it was.
    #[track_caller]
    pub fn refute_reply(&mut self, to: &Pushed) {
        self.refute(|frame| frame.reply_to(to).is_some(), "a reply");
    }

    /// The client was pushed this event.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn assert_push(&mut self, event: &str, payload: Value) {
        let wanted = |frame: &Frame<'_>| frame.is_push(event) && has(&payload, frame.payload());
        self.assert(wanted, &format!("a push of `{event}` with {payload}"));
    }

    /// No such event was pushed to the client.
    ///
    /// # Panics
    /// Where it was.
    #[track_caller]
    pub fn refute_push(&mut self, event: &str) {
        self.refute(|frame| frame.is_push(event), &format!("a push of `{event}`"));
    }

    /// This event was broadcast to the topic, and reached this member.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn assert_broadcast(&mut self, event: &str, payload: Value) {
        let wanted = |frame: &Frame<'_>| frame.is_broadcast(event) && has(&payload, frame.payload());
        self.assert(wanted, &format!("a broadcast of `{event}` with {payload}"));
    }

    /// No such event was broadcast that reached this member.
    ///
    /// # Panics
    /// Where it was.
    #[track_caller]
    pub fn refute_broadcast(&mut self, event: &str) {
        self.refute(|frame| frame.is_broadcast(event), &format!("a broadcast of `{event}`"));
    }

    /// The membership ended in order: the plugin stopped it.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    pub fn assert_close(&mut self) {
        self.assert(|frame| frame.event() == "phx_close", "the channel's close");
    }

    /// The membership ended by a fault.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    pub fn assert_error(&mut self) {
        self.assert(|frame| frame.event() == "phx_error", "the channel's error");
    }

    /// The connection was closed with this code.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    pub fn assert_disconnected(&mut self, code: u16) {
        let came = self.client.all();
        match came.iter().position(|came| *came == Came::Closed(code)) {
            Some(at) => drop(came.remove(at)),
            None => self.fail(&format!("the connection's end with {code}")),
        }
    }

    /// Everything else that has come, as frames of version 2; bytes as arrays of numbers.
    pub fn received(&mut self) -> Vec<Value> {
        let show = |came: Came| match came {
            Came::Json(frame) => frame,
            Came::Binary(bytes) => json!(bytes),
            Came::Closed(code) => json!({ "closed": code }),
        };
        self.client.all().drain(..).map(show).collect()
    }

    /// Leaves the topic, and stays connected. What came of it can still be asserted.
    pub fn leave(&mut self) -> Pushed {
        Pushed(self.client.push(&self.topic, "phx_leave", &json!({})))
    }

    /// Its connection ends.
    pub fn close(mut self) {
        self.client.close();
    }

    fn take_reply(&mut self, to: &Pushed) -> Option<(String, Value)> {
        let (topic, join_ref) = (self.topic.clone(), self.join_ref.clone());
        let came = self.client.all();
        let at = came
            .iter()
            .position(|came| Frame::of(came, &topic, &join_ref).is_some_and(|f| f.reply_to(to).is_some()))?;
        let taken = came.remove(at)?;
        let frame = Frame::of(&taken, &topic, &join_ref)?;
        frame.reply_to(to).map(|(status, response)| (status.to_owned(), response.clone()))
    }

    #[track_caller]
    fn assert(&mut self, wanted: impl Fn(&Frame<'_>) -> bool, what: &str) {
        let (topic, join_ref) = (self.topic.clone(), self.join_ref.clone());
        let came = self.client.all();
        let is_it = |came: &Came| Frame::of(came, &topic, &join_ref).is_some_and(|frame| wanted(&frame));
        match came.iter().position(is_it) {
            Some(at) => drop(came.remove(at)),
            None => self.fail(what),
        }
    }

    #[track_caller]
    fn refute(&mut self, unwanted: impl Fn(&Frame<'_>) -> bool, what: &str) {
        let (topic, join_ref) = (self.topic.clone(), self.join_ref.clone());
        let is_it = |came: &Came| Frame::of(came, &topic, &join_ref).is_some_and(|frame| unwanted(&frame));
        if let Some(came) = self.client.all().iter().find(|came| is_it(came)) {
            panic!("{what} came to the member of `{topic}`, and none should have:\n  {}", shown(came));
        }
    }

    #[track_caller]
    fn fail(&mut self, what: &str) -> ! {
        let mut came = String::new();
        for frame in self.client.all() {
            let _ = write!(came, "\n  {}", shown(frame));
        }
        let came = if came.is_empty() { " nothing" } else { &came };
        panic!("the member of `{}` expected {what}; there came{came}", self.topic)
    }
}

/// A frame of version 2 that is this member's.
struct Frame<'a>(&'a [Value]);

impl<'a> Frame<'a> {
    fn of(came: &'a Came, topic: &str, join_ref: &str) -> Option<Self> {
        let Came::Json(Value::Array(fields)) = came else { return None };
        let is_own = fields.len() == 5 && fields[2] == topic && (fields[0].is_null() || fields[0] == join_ref);
        is_own.then_some(Self(fields))
    }

    fn event(&self) -> &str {
        self.0[3].as_str().unwrap_or_default()
    }

    fn payload(&self) -> &'a Value {
        &self.0[4]
    }

    fn reply_to(&self, to: &Pushed) -> Option<(&'a str, &'a Value)> {
        let is_reply = self.event() == "phx_reply" && self.0[1] == to.0.as_str();
        is_reply.then(|| (self.0[4]["status"].as_str().unwrap_or_default(), &self.0[4]["response"]))
    }

    fn is_push(&self, event: &str) -> bool {
        self.event() == event && !self.0[0].is_null()
    }

    fn is_broadcast(&self, event: &str) -> bool {
        self.event() == event && self.0[0].is_null()
    }
}

/// Whether a value is what is expected, where an object may have other fields too.
fn has(expected: &Value, came: &Value) -> bool {
    match (expected, came) {
        (Value::Object(expected), Value::Object(came)) => {
            expected.iter().all(|(key, expected)| came.get(key).is_some_and(|came| has(expected, came)))
        }
        (Value::Array(expected), Value::Array(came)) => {
            expected.len() == came.len() && expected.iter().zip(came).all(|(expected, came)| has(expected, came))
        }
        (expected, came) => pattern::matches(expected, came),
    }
}

fn shown(came: &Came) -> String {
    match came {
        Came::Json(frame) => frame.to_string(),
        Came::Binary(bytes) => format!("the bytes {bytes:?}"),
        Came::Closed(code) => format!("the connection's end with {code}"),
    }
}
