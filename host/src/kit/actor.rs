//! A member on a stage, with the assertions of `Phoenix.ChannelTest`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write;
use std::rc::Rc;

use serde_json::{Value, json};

use super::client::{Client, Received};
use super::pattern;

/// A client that has joined a topic.
///
/// An assertion searches all received messages that no assertion has taken yet, in any order. It takes the message that
/// it finds, and returns its payload, so that the test can use an id from it. If it finds none, it fails with a list of
/// the received messages. An expected object matches an object that has its fields, and possibly others. An array of
/// numbers matches the same bytes.
///
/// A member stays until it [closes](Actor::close), leaves or is ended, even if its `Actor` is dropped.
pub struct Actor {
    client: Rc<RefCell<Client>>,
    topic: String,
    join_ref: String,
    response: Value,
}

/// A sent message. Its reply may arrive later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed(String);

impl Actor {
    pub(crate) fn join(client: Client, topic: &str, payload: &Value) -> Result<Self, Value> {
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

    /// The response of the join.
    #[must_use]
    pub fn response(&self) -> &Value {
        &self.response
    }

    /// The client's copy of the topic's published state, merged from the received `room_state` and `room_diff`s. Null
    /// counts as absent. `None` before the first `room_state`.
    #[must_use]
    pub fn room_state(&self) -> Option<Value> {
        self.client.borrow().room_state(&self.topic)
    }

    /// Whether the membership hasn't ended.
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

    /// Joins the topic again on the same client, which ends this membership. In a topic with a room, its `terminate` runs
    /// first, with the cause `replaced`. In other topics, `terminate` doesn't run.
    ///
    /// # Errors
    /// The response of a join that is refused.
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn rejoin(&mut self, payload: Value) -> Result<Self, Value> {
        Self::join_on(&self.client, &self.topic, &payload)
    }

    /// Asserts that this reply to the message came, and returns the response.
    ///
    /// # Panics
    /// If it didn't come.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn assert_reply(&mut self, to: &Pushed, status: &str, response: Value) -> Value {
        let wanted = |frame: &Frame| {
            let reply = frame.reply_to(to);
            reply.is_some_and(|(received, value)| received == status && has(&response, value))
        };
        let Frame([.., answer]) = self.assert(wanted, &format!("a reply `{status}` with {response}"));
        answer["response"].clone()
    }

    /// Asserts that no reply to the message came.
    ///
    /// # Panics
    /// If one came.
    #[track_caller]
    pub fn refute_reply(&mut self, to: &Pushed) {
        self.refute(|frame| frame.reply_to(to).is_some(), "a reply");
    }

    /// Asserts that this event was pushed to the client, and returns its payload.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn assert_push(&mut self, event: &str, payload: Value) -> Value {
        let wanted = |frame: &Frame| frame.is_push(event) && has(&payload, frame.payload());
        let Frame([.., received]) = self.assert(wanted, &format!("a push of `{event}` with {payload}"));
        received
    }

    /// Asserts that no such event was pushed to the client.
    ///
    /// # Panics
    /// If one was.
    #[track_caller]
    pub fn refute_push(&mut self, event: &str) {
        self.refute(|frame| frame.is_push(event), &format!("a push of `{event}`"));
    }

    /// Asserts that a broadcast of this event reached the member, and returns its payload.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "`json!(..)` is made to be given away")]
    pub fn assert_broadcast(&mut self, event: &str, payload: Value) -> Value {
        let wanted = |frame: &Frame| frame.is_broadcast(event) && has(&payload, frame.payload());
        let Frame([.., received]) = self.assert(wanted, &format!("a broadcast of `{event}` with {payload}"));
        received
    }

    /// Asserts that no broadcast of this event reached the member.
    ///
    /// # Panics
    /// If one did.
    #[track_caller]
    pub fn refute_broadcast(&mut self, event: &str) {
        self.refute(|frame| frame.is_broadcast(event), &format!("a broadcast of `{event}`"));
    }

    /// Asserts that the membership ended by a leave or a stop.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    pub fn assert_close(&mut self) {
        self.assert(|frame| frame.event() == "phx_close", "the channel's close");
    }

    /// Asserts that the membership ended by a fault.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    pub fn assert_error(&mut self) {
        self.assert(|frame| frame.event() == "phx_error", "the channel's error");
    }

    /// Asserts that the connection was closed with this code.
    ///
    /// # Panics
    /// See [`assert_reply`](Self::assert_reply).
    #[track_caller]
    pub fn assert_disconnected(&mut self, code: u16) {
        let is_it = |received: &Received| *received == Received::Closed(code);
        let found = self.with_all(|received| received.iter().position(is_it).and_then(|at| received.remove(at)));
        if found.is_none() {
            self.fail(&format!("the connection's end with {code}"));
        }
    }

    /// Takes all other frames that the client received, in version 2. Bytes are arrays of numbers.
    pub fn received(&mut self) -> Vec<Value> {
        let show = |received: Received| match received {
            Received::Json(frame) => frame,
            Received::Binary(bytes) => json!(bytes),
            Received::Closed(code) => json!({ "closed": code }),
        };
        self.with_all(|received| received.drain(..).map(show).collect())
    }

    /// Drops all frames that the client has received so far.
    pub fn flush(&mut self) {
        self.with_all(VecDeque::clear);
    }

    /// Leaves the topic and stays connected. Assertions still work afterwards.
    pub fn leave(&mut self) -> Pushed {
        Pushed(self.client.borrow_mut().push(&self.topic, "phx_leave", &json!({})))
    }

    /// Closes the connection.
    pub fn close(self) {
        self.client.borrow_mut().close();
    }

    fn with_all<T>(&self, act: impl FnOnce(&mut VecDeque<Received>) -> T) -> T {
        self.client.borrow_mut().with_all(act)
    }

    /// Takes the first frame of this member that satisfies `wanted`.
    fn take(&self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        self.with_all(|received| {
            let found = received.iter().enumerate().find_map(|(at, received)| {
                Some((at, Frame::of(received, &self.topic, &self.join_ref).filter(|frame| wanted(frame))?))
            });
            let (at, frame) = found?;
            received.remove(at);
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
        let is_it = |received: &&Received| {
            Frame::of(received, &self.topic, &self.join_ref).is_some_and(|frame| unwanted(&frame))
        };
        if let Some(received) = self.with_all(|received| received.iter().find(is_it).map(shown)) {
            panic!("the member of `{}` received {what}, but expected none:\n  {received}", self.topic);
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let mut received = String::new();
        self.with_all(|all| {
            for frame in all {
                let _ = write!(received, "\n  {}", shown(frame));
            }
        });
        let received = if received.is_empty() { " nothing" } else { &received };
        panic!("the member of `{}` expected {what}, but received{received}", self.topic)
    }
}

/// A frame of version 2 for this member. Bytes are an array of numbers.
struct Frame([Value; 5]);

impl Frame {
    fn of(received: &Received, topic: &str, join_ref: &str) -> Option<Self> {
        let fields: [Value; 5] = match received {
            Received::Json(Value::Array(fields)) => fields.clone().try_into().ok()?,
            Received::Binary(bytes) => binary(bytes)?,
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

/// A binary frame in the form of a frame in JSON.
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

/// Whether a value matches the expected one. An object may have further fields.
fn has(expected: &Value, received: &Value) -> bool {
    match (expected, received) {
        (Value::Object(expected), Value::Object(received)) => {
            expected.iter().all(|(key, expected)| received.get(key).is_some_and(|received| has(expected, received)))
        }
        (Value::Array(expected), Value::Array(received)) => {
            expected.len() == received.len()
                && expected.iter().zip(received).all(|(expected, received)| has(expected, received))
        }
        (expected, received) => pattern::matches(expected, received),
    }
}

fn shown(received: &Received) -> String {
    match received {
        Received::Json(frame) => frame.to_string(),
        Received::Binary(bytes) => format!("the bytes {bytes:?}"),
        Received::Closed(code) => format!("the connection's end with {code}"),
    }
}
