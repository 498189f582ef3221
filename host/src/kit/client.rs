//! A client without a wire: frames in, frames out.

use std::collections::{HashMap, VecDeque};
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

/// One connection.
pub(super) struct Client {
    inside: Rc<Inside>,
    /// None once it is closed.
    socket: Option<Socket>,
    came: VecDeque<Came>,
    next_ref: u64,
    join_refs: HashMap<String, String>,
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
        let (came, join_refs) = (VecDeque::new(), HashMap::new());
        Self { inside: Rc::clone(inside), socket: Some(socket), came, next_ref: 1, join_refs }
    }

    /// Sends a message of version 2, as phoenix.js does. Gives its ref.
    pub(super) fn push(&mut self, topic: &str, event: &str, payload: &Value) -> String {
        let reference = self.next_ref.to_string();
        self.next_ref += 1;
        if event == event::JOIN {
            self.join_refs.insert(topic.to_owned(), reference.clone());
        }
        self.send(&json!([self.join_ref(topic), reference, topic, event, payload]).to_string());
        reference
    }

    /// The ref of the last join of a topic.
    pub(super) fn join_ref(&self, topic: &str) -> Option<&str> {
        self.join_refs.get(topic).map(String::as_str)
    }

    /// Sends a text frame.
    pub(super) fn send(&mut self, text: &str) {
        let message = Incoming::Text(text.into());
        let inside = Rc::clone(&self.inside);
        let Some(socket) = &mut self.socket else { return };
        if let Err(Closing(code)) = inside.enter(|| socket.receive(&message)) {
            self.settle();
            inside.enter(|| self.end(Came::Closed(code.code())));
        }
    }

    /// What came next, if anything has by now.
    pub(super) fn next(&mut self) -> Option<Came> {
        if self.came.is_empty() {
            self.settle();
        }
        self.came.pop_front()
    }

    /// All that has come and wasn't taken.
    pub(super) fn all(&mut self) -> &mut VecDeque<Came> {
        self.settle();
        &mut self.came
    }

    /// Its connection ends.
    pub(super) fn close(&mut self) {
        let Some(socket) = self.socket.take() else { return };
        self.inside.enter(|| drop(socket.close(Ending::Closed)));
        self.inside.settle();
    }

    fn settle(&mut self) {
        self.inside.settle();
        let inside = Rc::clone(&self.inside);
        while inside.enter(|| self.take()) {
            inside.settle();
        }
    }

    /// Takes what the outbox holds. Whether something that was held back goes on, so that more may come.
    fn take(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        let outbox = Arc::clone(socket.outbox());
        let mut frames = VecDeque::new();
        loop {
            let taken = outbox.poll_take(&Context::from_waker(Waker::noop()), &mut frames);
            self.came.extend(frames.drain(..).map(|frame| read(&frame)));
            match taken {
                Poll::Ready(Taken::Frames) => {}
                Poll::Ready(Taken::Nudge) => {
                    socket.resume();
                    return true;
                }
                Poll::Ready(Taken::Close(code)) => {
                    self.end(Came::Closed(code.code()));
                    return false;
                }
                Poll::Pending => return false,
            }
        }
    }

    fn end(&mut self, end: Came) {
        self.came.push_back(end);
        if let Some(socket) = self.socket.take() {
            drop(socket.close(Ending::Closed));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Its channels end within the runtime.
        if let Some(socket) = self.socket.take() {
            let inside = Rc::clone(&self.inside);
            inside.enter(move || drop(socket.close(Ending::Closed)));
        }
    }
}

fn read(frame: &Frame) -> Came {
    match frame.as_text() {
        // What the host passes on unread may be more than a `Value` can hold: then it is shown as its text.
        Some(text) => Came::Json(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
        None => Came::Binary(frame.message().to_vec()),
    }
}
