//! A member on stage, in the words of `Phoenix.ChannelTest`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write;
use std::rc::Rc;

use serde_json::{Value, json};

use super::client::{Came, Client};
use super::pattern;

/// Somebody who has joined a topic.
///
/// An assertion looks through all that has come and wasn't asserted yet, in whatever order, takes what it finds, and fails
/// with a list of what came instead. It gives what the message carries, so that the test can go on with an id out of it. An
/// expected object matches one that has its fields, and perhaps others; an array of numbers matches the same bytes.
///
/// A member stays in until it [closes](Actor::close), leaves or is ended, whether its `Actor` is kept or not.
pub struct Actor {
    client: Rc<RefCell<Client>>,
    topic: String,
    join_ref: String,
    response: Value,
}

/// A message that was sent, and may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed(String);

impl Actor {
    pub(super) fn join(client: Client, topic: &str, payload: &Value) -> Result<Self, Value> {
        let client = Rc::new(RefCell::new(client));
        Self::join_on(&client, topic, payload).inspect_err(|_| client.borrow_mut().close())
    }

    fn join_on(client: &Rc<RefCell<Client>>, topic: &str, payload: &Value) -> Result<Self, Value> {
        let join_ref = client.borrow_mut().push(topic, "phx_join", payload);
        let mut member = Self { client: Rc::clone(client), topic: topic.to_owned(), join_ref, response: Value::Null };
        let reply = Pushed(member.join_ref.clone());
        let answered = member.take(|frame| frame.reply_to(&reply).is_some());
        let Some(Frame(fields)) = answered else { member.fail("the reply to the join") };
        let [.., answer] = fields;
        if answer["status"] != "ok" {
            return Err(answer["response"].clone());
        }
        member.response = answer["response"].clone();
        Ok(member)
    }

    /// What the join was answered.
    #[must_use]
    pub fn response(&self) -> &Value {
        &self.response
    }

    /// What its client has of the topic's published state, put together from the `room_state` and the `room_diff`s that came: without
    /// what is null, which counts as absent. None before the first.
    #[must_use]
    pub fn room_state(&self) -> Option<Value> {
        self.client.borrow().room_state(&self.topic)
    }

    /// Whether it is still in.
    #[must_use]
    pub fn is_in(&self) -> bool {
        self.client.borrow().is_in(&self.join_ref)
    }

    /// Sends an event.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn push(&mut self, event: &str, payload: Value) -> Pushed {
        Pushed(self.client.borrow_mut().push(&self.topic, event, &payload))
    }

    /// Sends an event with bytes.
    pub fn push_binary(&mut self, event: &str, payload: &[u8]) -> Pushed {
        Pushed(self.client.borrow_mut().push_binary(&self.topic, event, payload))
    }

    /// Its client joins the topic again, which ends this membership. In a topic with a room its `terminate` runs first, with
    /// the cause `replaced`; elsewhere it doesn't.
    ///
    /// # Errors
    /// The response of a join that is refused.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn rejoin(&mut self, payload: Value) -> Result<Self, Value> {
        Self::join_on(&self.client, &self.topic, &payload)
    }

    /// The message was answered so. Gives the response.
    ///
    /// # Panics
    /// Where it wasn't, as all of these.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn assert_reply(&mut self, to: &Pushed, status: &str, response: Value) -> Value {
        let wanted = |frame: &Frame| {
            let reply = frame.reply_to(to);
            reply.is_some_and(|(came, value)| came == status && has(&response, value))
        };
        let Frame([.., answer]) = self.assert(wanted, &format!("a reply `{status}` with {response}"));
        answer["response"].clone()
    }

    /// The message was not answered.
    ///
    /// # Panics
    /// Where it was.
    #[track_caller]
    pub fn refute_reply(&mut self, to: &Pushed) {
        self.refute(|frame| frame.reply_to(to).is_some(), "a reply");
    }

    /// The client was pushed this event. Gives what the event carries.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn assert_push(&mut self, event: &str, payload: Value) -> Value {
        let wanted = |frame: &Frame| frame.is_push(event) && has(&payload, frame.payload());
        let Frame([.., came]) = self.assert(wanted, &format!("a push of `{event}` with {payload}"));
        came
    }

    /// No such event was pushed to the client.
    ///
    /// # Panics
    /// Where it was.
    #[track_caller]
    pub fn refute_push(&mut self, event: &str) {
        self.refute(|frame| frame.is_push(event), &format!("a push of `{event}`"));
    }

    /// This event was broadcast to the topic, and reached this member. Gives what the event carries.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn assert_broadcast(&mut self, event: &str, payload: Value) -> Value {
        let wanted = |frame: &Frame| frame.is_broadcast(event) && has(&payload, frame.payload());
        let Frame([.., came]) = self.assert(wanted, &format!("a broadcast of `{event}` with {payload}"));
        came
    }

    /// No such event was broadcast that reached this member.
    ///
    /// # Panics
    /// Where it was.
    #[track_caller]
    pub fn refute_broadcast(&mut self, event: &str) {
        self.refute(|frame| frame.is_broadcast(event), &format!("a broadcast of `{event}`"));
    }

    /// The membership ended in order: by a leave or a stop.
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
        let is_it = |came: &Came| *came == Came::Closed(code);
        let found = self.with_all(|came| came.iter().position(is_it).and_then(|at| came.remove(at)));
        if found.is_none() {
            self.fail(&format!("the connection's end with {code}"));
        }
    }

    /// Takes everything else that has come to its client, as frames of version 2; bytes as arrays of numbers.
    pub fn received(&mut self) -> Vec<Value> {
        let show = |came: Came| match came {
            Came::Json(frame) => frame,
            Came::Binary(bytes) => json!(bytes),
            Came::Closed(code) => json!({ "closed": code }),
        };
        self.with_all(|came| came.drain(..).map(show).collect())
    }

    /// Forgets what has come to its client so far.
    pub fn flush(&mut self) {
        self.with_all(VecDeque::clear);
    }

    /// Leaves the topic, and stays connected. What came of it can still be asserted.
    pub fn leave(&mut self) -> Pushed {
        Pushed(self.client.borrow_mut().push(&self.topic, "phx_leave", &json!({})))
    }

    /// Its connection ends.
    pub fn close(self) {
        self.client.borrow_mut().close();
    }

    fn with_all<T>(&self, act: impl FnOnce(&mut VecDeque<Came>) -> T) -> T {
        self.client.borrow_mut().with_all(act)
    }

    /// Takes the first frame of this member that is wanted.
    fn take(&self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        self.with_all(|came| {
            let found = came.iter().enumerate().find_map(|(at, came)| {
                Some((at, Frame::of(came, &self.topic, &self.join_ref).filter(|frame| wanted(frame))?))
            });
            let (at, frame) = found?;
            came.remove(at);
            Some(frame)
        })
    }

    #[track_caller]
    fn assert(&self, wanted: impl Fn(&Frame) -> bool, what: &str) -> Frame {
        match self.take(wanted) {
            Some(frame) => frame,
            None => self.fail(what),
        }
    }

    #[track_caller]
    fn refute(&self, unwanted: impl Fn(&Frame) -> bool, what: &str) {
        let is_it = |came: &&Came| Frame::of(came, &self.topic, &self.join_ref).is_some_and(|frame| unwanted(&frame));
        if let Some(came) = self.with_all(|came| came.iter().find(is_it).map(shown)) {
            panic!("{what} came to the member of `{}`, and none should have:\n  {came}", self.topic);
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let mut came = String::new();
        self.with_all(|all| {
            for frame in all {
                let _ = write!(came, "\n  {}", shown(frame));
            }
        });
        let came = if came.is_empty() { " nothing" } else { &came };
        panic!("the member of `{}` expected {what}; there came{came}", self.topic)
    }
}

/// A frame of version 2 that is this member's; bytes as an array of numbers.
struct Frame([Value; 5]);

impl Frame {
    fn of(came: &Came, topic: &str, join_ref: &str) -> Option<Self> {
        let fields: [Value; 5] = match came {
            Came::Json(Value::Array(fields)) => fields.clone().try_into().ok()?,
            Came::Binary(bytes) => binary(bytes)?,
            _ => return None,
        };
        let is_own = fields[2] == topic && (fields[0].is_null() || fields[0] == join_ref);
        is_own.then_some(Self(fields))
    }

    fn event(&self) -> &str {
        self.0[3].as_str().unwrap_or_default()
    }

    fn payload(&self) -> &Value {
        &self.0[4]
    }

    fn reply_to(&self, to: &Pushed) -> Option<(&str, &Value)> {
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

/// A binary frame, as one in JSON would be.
fn binary(frame: &[u8]) -> Option<[Value; 5]> {
    let (kind, rest) = frame.split_first()?;
    let count = match kind {
        0 => 3,
        1 => 4,
        _ => 2,
    };
    let (sizes, mut rest) = rest.split_at_checked(count)?;
    let mut names = Vec::new();
    for size in sizes {
        let (name, behind) = rest.split_at_checked(usize::from(*size))?;
        names.push(String::from_utf8_lossy(name).into_owned());
        rest = behind;
    }
    let payload = json!(rest);
    Some(match (kind, &names[..]) {
        (0, [join_ref, topic, event]) => [json!(join_ref), Value::Null, json!(topic), json!(event), payload],
        (1, [join_ref, reference, topic, status]) => {
            let answer = json!({ "status": status, "response": payload });
            [json!(join_ref), json!(reference), json!(topic), json!("phx_reply"), answer]
        }
        (_, [topic, event, ..]) => [Value::Null, Value::Null, json!(topic), json!(event), payload],
        _ => return None,
    })
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
