//! A client on a stage at the level of frames, with several topics over one connection.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use bennu_world::{Frame, Incoming, World};

use super::Setup;
use super::actor::act;
use super::native::NativeRoutes;
use crate::{IntoPayload, Payload, Value, json};

/// A connected client, with the frames of version 2 that it received, in order.
///
/// ```
/// # use bennu_guest::prelude::*;
/// # #[derive(Serialize, Deserialize)] struct Chat;
/// # impl Channel for Chat { type Room = (); fn join(_: &mut Socket, _: Payload) -> Join<Self> { Ok(Chat) } }
/// let stage = testing::Stage::new().channel::<Chat>("room:*");
/// let mut alice = stage.connect(testing::Setup::new());
/// for room in ["room:1", "room:2"] {
///     alice.push(room, "phx_join", json!({}));
/// }
/// assert_eq!(alice.next(), Some(json!(["1", "1", "room:1", "phx_reply", { "status": "ok", "response": {} }])));
/// assert_eq!(alice.next(), Some(json!(["2", "2", "room:2", "phx_reply", { "status": "ok", "response": {} }])));
/// assert_eq!(alice.next(), None);
/// ```
///
/// It stays connected until it [closes](Client::close) or is disconnected, also if it is dropped.
pub struct Client {
    world: Rc<RefCell<World<NativeRoutes>>>,
    socket: u64,
    /// The ref of the last join of each topic.
    join_refs: BTreeMap<String, String>,
}

impl Client {
    pub(super) fn connect(world: &Rc<RefCell<World<NativeRoutes>>>, who: Setup) -> Self {
        let socket = world.borrow_mut().connect(who.socket, true);
        Self { world: Rc::clone(world), socket, join_refs: BTreeMap::new() }
    }

    /// Sends a message as phoenix.js does: `phx_join`, `phx_leave`, or an event of a topic that was joined. Returns its
    /// ref.
    pub fn push(&mut self, topic: &str, event: &str, payload: impl IntoPayload) -> String {
        let reference = self.world.borrow_mut().draw_ref(self.socket);
        let text: Value = serde_json::from_str(&reference).unwrap_or_default();
        let text = text.as_str().unwrap_or_default().to_owned();
        if event == "phx_join" {
            self.join_refs.insert(topic.into(), text.clone());
        }
        let join_ref = json!(self.join_ref(topic)).to_string();
        let (topic, event) = (topic.into(), event.into());
        let message = Incoming { join_ref, reference, topic, event, payload: payload.into_payload().into() };
        act(&self.world, |world| world.receive(self.socket, message));
        text
    }

    /// Sends this frame.
    ///
    /// # Panics
    ///
    /// If it isn't a frame of version 2.
    #[track_caller]
    pub fn send(&mut self, frame: &str) {
        let fields: [Value; 5] =
            serde_json::from_str(frame).unwrap_or_else(|error| panic!("{frame} is no frame: {error}"));
        let [join_ref, reference, topic, event, payload] = fields;
        let (Some(topic), Some(event)) = (topic.as_str(), event.as_str()) else {
            panic!("{frame} is no frame: its topic and its event are strings")
        };
        let message = Incoming {
            join_ref: join_ref.to_string(),
            reference: reference.to_string(),
            topic: topic.into(),
            event: event.into(),
            payload: Payload::Json(payload.to_string()).into(),
        };
        act(&self.world, |world| world.receive(self.socket, message));
    }

    /// The ref of its last join of a topic.
    pub fn join_ref(&self, topic: &str) -> Option<&str> {
        self.join_refs.get(topic).map(String::as_str)
    }

    /// Removes all received frames, and returns them.
    pub fn received(&mut self) -> Vec<Value> {
        self.by_ref().collect()
    }

    /// Its connection ends.
    pub fn close(self) {
        act(&self.world, |world| world.close_client(self.socket));
    }
}

/// Removes the received frames one by one. A binary frame is an array of numbers, and the end of the connection is
/// `{"closed": CODE}`.
impl Iterator for Client {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        self.world.borrow_mut().next_frame(self.socket).map(shown)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// A frame as a value that a test can compare.
#[track_caller]
pub(super) fn shown(frame: Frame) -> Value {
    match frame {
        Frame::Text(text) => {
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text} can't be shown as a value: {error}"))
        }
        Frame::Binary(bytes) => json!(bytes),
        Frame::Closed(code) => json!({ "closed": code }),
    }
}
