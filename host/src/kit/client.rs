//! A client without a wire: frames in, frames out.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::contract::{Ending, SocketFacts};
use crate::protocol::{Frame, Incoming, Serializer, event};
use crate::pubsub::Taken;
use crate::socket::{Closing, Socket};
use bennu_semantics::merge;
use serde_json::{Value, json};

use super::stage::{Inside, Join};

/// A received frame, or the end of the connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Received {
    /// A text frame.
    Json(Value),
    /// A binary frame.
    Binary(Vec<u8>),
    /// The end of the connection, with its code.
    Closed(u16),
}

/// A test's handle of one connection. The connection lasts until it is closed, even if the handle is dropped.
pub(crate) struct Client {
    inside: Rc<Inside>,
    connection: Rc<RefCell<Connection>>,
    next_ref: u64,
    join_refs: HashMap<String, String>,
}

/// A connection. The stage owns all connections and takes their messages, as the host's reactors do.
#[derive(Default)]
pub(crate) struct Connection {
    /// `None` after the connection was closed.
    socket: Option<Socket>,
    received: VecDeque<Received>,
    /// The refs of the joins whose memberships have ended.
    ended: HashSet<String>,
    /// The published states of topics, merged as clients merge them.
    states: HashMap<String, Value>,
}

impl Client {
    pub(crate) fn connect(inside: &Rc<Inside>, who: &Join) -> Self {
        let params = if who.params.is_null() { json!({}) } else { who.params.clone() };
        let facts = SocketFacts {
            client: None,
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

    /// Sends a message of version 2, as phoenix.js does. Returns its ref.
    pub(crate) fn push(&mut self, topic: &str, event: &str, payload: &Value) -> String {
        let reference = self.message_ref(topic, event);
        self.send(&json!([self.join_ref(topic), reference, topic, event, payload]).to_string());
        reference
    }

    /// The same with bytes.
    pub(crate) fn push_binary(&mut self, topic: &str, event: &str, payload: &[u8]) -> String {
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
    pub(crate) fn join_ref(&self, topic: &str) -> Option<&str> {
        self.join_refs.get(topic).map(String::as_str)
    }

    /// Sends a text frame.
    pub(crate) fn send(&mut self, text: &str) {
        self.receive(&Incoming::Text(text.into()));
    }

    fn receive(&mut self, message: &Incoming) {
        let received = self.inside.enter(|| match &mut self.connection.borrow_mut().socket {
            Some(socket) => socket.receive(message),
            None => Ok(()),
        });
        if let Err(Closing(code)) = received {
            self.inside.settle();
            self.inside.enter(|| self.connection.borrow_mut().end(Received::Closed(code.code())));
        }
    }

    /// The next received frame, if there is one.
    pub(crate) fn next(&mut self) -> Option<Received> {
        let next = self.connection.borrow_mut().received.pop_front();
        next.or_else(|| {
            self.inside.settle();
            self.connection.borrow_mut().received.pop_front()
        })
    }

    /// Runs code on all received frames that weren't taken.
    pub(crate) fn with_all<T>(&mut self, act: impl FnOnce(&mut VecDeque<Received>) -> T) -> T {
        self.inside.settle();
        act(&mut self.connection.borrow_mut().received)
    }

    /// Whether the client is connected and the membership of this join hasn't ended.
    pub(crate) fn is_in(&self, join_ref: &str) -> bool {
        self.inside.settle();
        let connection = self.connection.borrow();
        connection.socket.is_some() && !connection.ended.contains(join_ref)
    }

    /// The client's copy of a topic's published state.
    pub(crate) fn room_state(&self, topic: &str) -> Option<Value> {
        self.inside.settle();
        self.connection.borrow().states.get(topic).cloned()
    }

    /// Closes the connection.
    pub(crate) fn close(&mut self) {
        self.inside.enter(|| self.connection.borrow_mut().close());
        self.inside.settle();
    }
}

impl Connection {
    /// Takes the frames of the outbox. Returns whether the socket resumed or ended, so that other clients may get more.
    pub(crate) fn take(&mut self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let outbox = Arc::clone(socket.outbox());
        let mut frames = VecDeque::new();
        loop {
            let taken = outbox.poll_take(&Context::from_waker(Waker::noop()), &mut frames);
            for frame in frames.drain(..) {
                let received = read(&frame);
                self.ended.extend(received.ends().map(str::to_owned));
                self.follow(&received);
                self.received.push_back(received);
            }
            match taken {
                Poll::Ready(Taken::Frames) => {}
                Poll::Ready(Taken::Nudge) => {
                    self.socket.iter_mut().for_each(Socket::resume);
                    return true;
                }
                Poll::Ready(Taken::Close(code)) => {
                    self.end(Received::Closed(code.code()));
                    return true;
                }
                Poll::Pending => return false,
            }
        }
    }

    /// Closes the socket and ends its members. Must run within the runtime.
    pub(crate) fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            drop(socket.close(Ending::Closed));
        }
    }

    fn end(&mut self, end: Received) {
        self.received.push_back(end);
        self.close();
    }

    /// Updates the copy of a topic's published state.
    fn follow(&mut self, received: &Received) {
        let Received::Json(frame) = received else { return };
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

impl Received {
    /// The ref of the join whose membership this frame ends, if it ends one.
    fn ends(&self) -> Option<&str> {
        let Self::Json(Value::Array(fields)) = self else { return None };
        let is_end = matches!(fields.get(3)?.as_str(), Some("phx_close" | "phx_error"));
        fields.first()?.as_str().filter(|_| is_end)
    }
}

fn read(frame: &Frame) -> Received {
    match frame.as_text() {
        // The host passes payloads on unread, so a frame may exceed the limits of `Value`. Then the frame is shown as its
        // text.
        Some(text) => Received::Json(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
        None => Received::Binary(frame.message().to_vec()),
    }
}
