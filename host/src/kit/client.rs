//! A client without a wire: frames in, frames out.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};

use super::stage::{Inside, Join};
use crate::contract::{Ending, SocketFacts};
use crate::protocol::{Frame, Incoming, Serializer, event};
use crate::pubsub::Taken;
use crate::socket::{Closing, Socket};

/// What came to a client.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Came {
    /// A text frame.
    Json(Value),
    /// A binary frame.
    Binary(Vec<u8>),
    /// The end of the connection, with its code.
    Closed(u16),
}

/// One connection, in the hands of a test. It lasts until it is closed, whether this is kept or not.
pub(super) struct Client {
    inside: Rc<Inside>,
    connection: Rc<RefCell<Connection>>,
    next_ref: u64,
    join_refs: HashMap<String, String>,
}

/// A connection. The stage has all of them, and takes what comes to each, as the host's connections do by themselves.
#[derive(Default)]
pub(super) struct Connection {
    /// None once it is closed.
    socket: Option<Socket>,
    came: VecDeque<Came>,
    /// The refs of the joins whose memberships have ended.
    ended: HashSet<String>,
    /// The published states of topics, put together as clients do.
    states: HashMap<String, Value>,
}

impl Client {
    pub(super) fn connect(inside: &Rc<Inside>, who: &Join) -> Self {
        let params = if who.params.is_null() { json!({}) } else { who.params.clone() };
        let facts = SocketFacts {
            identity: who.identity.clone(),
            transport: "websocket",
            connect_params: params.to_string().into(),
            x_headers: [].into(),
        };
        let socket = inside.enter(|| inside.endpoint().connect(facts, Serializer::V2));
        let connection = Connection { socket: Some(socket), ..Connection::default() };
        let connection = Rc::new(RefCell::new(connection));
        inside.admit(&connection);
        Self { inside: Rc::clone(inside), connection, next_ref: 1, join_refs: HashMap::new() }
    }

    /// Sends a message of version 2, as phoenix.js does. Gives its ref.
    pub(super) fn push(&mut self, topic: &str, event: &str, payload: &Value) -> String {
        let reference = self.message_ref(topic, event);
        self.send(&json!([self.join_ref(topic), reference, topic, event, payload]).to_string());
        reference
    }

    /// The same with bytes.
    pub(super) fn push_binary(&mut self, topic: &str, event: &str, payload: &[u8]) -> String {
        let reference = self.message_ref(topic, event);
        let names = [self.join_ref(topic).unwrap_or_default(), &reference, topic, event];
        let mut frame = vec![0];
        frame.extend(names.iter().map(|name| u8::try_from(name.len()).unwrap_or(u8::MAX)));
        names.iter().for_each(|name| frame.extend(name.as_bytes()));
        frame.extend(payload);
        self.receive(&Incoming::Binary(frame.into()));
        reference
    }

    fn message_ref(&mut self, topic: &str, event: &str) -> String {
        let reference = self.next_ref.to_string();
        self.next_ref += 1;
        if event == event::JOIN {
            self.join_refs.insert(topic.to_owned(), reference.clone());
        }
        reference
    }

    /// The ref of the last join of a topic.
    pub(super) fn join_ref(&self, topic: &str) -> Option<&str> {
        self.join_refs.get(topic).map(String::as_str)
    }

    /// Sends a text frame.
    pub(super) fn send(&mut self, text: &str) {
        self.receive(&Incoming::Text(text.into()));
    }

    fn receive(&mut self, message: &Incoming) {
        let received = self.inside.enter(|| match &mut self.connection.borrow_mut().socket {
            Some(socket) => socket.receive(message),
            None => Ok(()),
        });
        if let Err(Closing(code)) = received {
            self.inside.settle();
            self.inside.enter(|| self.connection.borrow_mut().end(Came::Closed(code.code())));
        }
    }

    /// What came next, if anything has by now.
    pub(super) fn next(&mut self) -> Option<Came> {
        let next = self.connection.borrow_mut().came.pop_front();
        next.or_else(|| {
            self.inside.settle();
            self.connection.borrow_mut().came.pop_front()
        })
    }

    /// Does something with all that has come and wasn't taken.
    pub(super) fn with_all<T>(&mut self, act: impl FnOnce(&mut VecDeque<Came>) -> T) -> T {
        self.inside.settle();
        act(&mut self.connection.borrow_mut().came)
    }

    /// Whether it is connected, and the membership of this join hasn't ended.
    pub(super) fn is_in(&self, join_ref: &str) -> bool {
        self.inside.settle();
        let connection = self.connection.borrow();
        connection.socket.is_some() && !connection.ended.contains(join_ref)
    }

    /// What it has of a topic's published state.
    pub(super) fn room_state(&self, topic: &str) -> Option<Value> {
        self.inside.settle();
        self.connection.borrow().states.get(topic).cloned()
    }

    /// Its connection ends.
    pub(super) fn close(&mut self) {
        self.inside.enter(|| self.connection.borrow_mut().close());
        self.inside.settle();
    }
}

impl Connection {
    /// Takes what its outbox holds. Whether something that was held back goes on, or has ended, so that more may come to others.
    pub(super) fn take(&mut self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let outbox = Arc::clone(socket.outbox());
        let mut frames = VecDeque::new();
        loop {
            let taken = outbox.poll_take(&Context::from_waker(Waker::noop()), &mut frames);
            for frame in frames.drain(..) {
                let came = read(&frame);
                self.ended.extend(came.ends().map(str::to_owned));
                self.follow(&came);
                self.came.push_back(came);
            }
            match taken {
                Poll::Ready(Taken::Frames) => {}
                Poll::Ready(Taken::Nudge) => {
                    self.socket.iter_mut().for_each(Socket::resume);
                    return true;
                }
                Poll::Ready(Taken::Close(code)) => {
                    self.end(Came::Closed(code.code()));
                    return true;
                }
                Poll::Pending => return false,
            }
        }
    }

    /// It ends, and its members with it. Within the runtime only.
    pub(super) fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            drop(socket.close(Ending::Closed));
        }
    }

    fn end(&mut self, end: Came) {
        self.came.push_back(end);
        self.close();
    }

    /// Keeps a topic's published state.
    fn follow(&mut self, came: &Came) {
        let Came::Json(frame) = came else { return };
        let (Some(topic), payload) = (frame[2].as_str(), &frame[4]) else { return };
        match frame[3].as_str() {
            Some("room_state") => {
                let mut state = json!({});
                merge(&mut state, &payload["state"]);
                self.states.insert(topic.to_owned(), state);
            }
            Some("room_diff") => merge(self.states.entry(topic.to_owned()).or_default(), &payload["patch"]),
            _ => {}
        }
    }
}

impl Came {
    /// The ref of the join whose membership it ends, if it ends one.
    fn ends(&self) -> Option<&str> {
        let Self::Json(Value::Array(fields)) = self else { return None };
        let is_end = matches!(fields.get(3)?.as_str(), Some("phx_close" | "phx_error"));
        fields.first()?.as_str().filter(|_| is_end)
    }
}

fn read(frame: &Frame) -> Came {
    match frame.as_text() {
        // What the host passes on unread may be more than a `Value` can hold: then it is shown as its text.
        Some(text) => Came::Json(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
        None => Came::Binary(frame.message().to_vec()),
    }
}

/// Applies a merge patch (RFC 7396), as clients do.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
