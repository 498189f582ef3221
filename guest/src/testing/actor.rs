//! A member on a stage, with assertions like those of `Phoenix.ChannelTest`.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::rc::Rc;

use bennu_world::{Received, Role, Sent, TURNS_MAX, World};
use serde::de::DeserializeOwned;

use super::native::NativeRoutes;
use super::{NotJoined, client};
use crate::{IntoPayload, Payload, Reply, Value, state};

/// A member of a topic, with the messages that its client received.
///
/// An assertion searches all messages that were received and not yet asserted, in any order. It removes the message
/// that it finds, and returns its payload, so that the test can use an id in it. If it finds none, it fails with a list
/// of the messages. An expected object matches an object with these fields and any others. Bytes
/// ([`Binary`](crate::Binary)) match equal bytes.
///
/// A member stays joined until it [closes](Actor::close), leaves or is ended, also if its `Actor` is dropped.
pub struct Actor {
    world: Rc<RefCell<World<NativeRoutes>>>,
    id: u64,
}

/// A message that a client sent, to assert its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed(String);

impl Actor {
    pub(super) fn new(world: Rc<RefCell<World<NativeRoutes>>>, id: u64) -> Self {
        Self { world, id }
    }

    /// The member's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The response of its join.
    pub fn response(&self) -> Payload {
        self.role(|role| role.response.clone().into())
    }

    /// Its state as last committed.
    ///
    /// # Panics
    ///
    /// If it isn't a `C`.
    #[track_caller]
    pub fn assigns<C: DeserializeOwned>(&self) -> C {
        self.role(|role| state::decode(&role.assigns.bytes)).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The topic's published state, as its client computes it from `room_state` and the `room_diff`s. Null fields count
    /// as absent.
    /// `None` before the first `room_state`.
    pub fn room_state(&self) -> Option<Value> {
        self.role(|role| role.room_state.clone())
    }

    /// Whether it is still joined.
    pub fn is_in(&self) -> bool {
        self.role(|role| role.is_in)
    }

    /// Its client sends an event. After the member's end, the reply says that the topic isn't joined.
    pub fn push(&mut self, event: &str, payload: impl IntoPayload) -> Pushed {
        let payload = payload.into_payload().into();
        Pushed(act(&self.world, |world| world.push(self.id, event, payload)))
    }

    /// Its client leaves the topic, and stays connected.
    pub fn leave(&mut self) -> Pushed {
        Pushed(act(&self.world, |world| world.leave(self.id)))
    }

    /// Its client joins the topic again, which ends this membership. In a topic with a room its `terminate` runs first,
    /// with the cause `replaced`; elsewhere it doesn't.
    ///
    /// # Errors
    ///
    /// If the join is refused or ends in a fault.
    pub fn rejoin(&mut self, params: impl IntoPayload) -> Result<Actor, NotJoined> {
        let params = params.into_payload().into();
        let member = act(&self.world, |world| world.rejoin(self.id, params))?;
        Ok(Self::new(Rc::clone(&self.world), member))
    }

    /// Its connection ends.
    pub fn close(self) {
        act(&self.world, |world| world.close(self.id));
    }

    /// Asserts a reply to the message. Returns its response.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn assert_reply(&mut self, to: &Pushed, status: &str, response: impl IntoPayload) -> Payload {
        let response = response.into_payload();
        let wanted = |received: &Received| {
            reply_to(received, to)
                .is_some_and(|reply| reply.status == status && has(&response, &reply.payload.clone().into()))
        };
        self.assert(wanted, &format!("a reply {status:?} with {}", shown(&response)))
    }

    /// Asserts that the message has no reply.
    ///
    /// # Panics
    ///
    /// If there is one.
    #[track_caller]
    pub fn refute_reply(&mut self, to: &Pushed) {
        self.refute(|received| reply_to(received, to).is_some(), "a reply");
    }

    /// Asserts a push of this event to its client. Returns its payload.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn assert_push(&mut self, event: &str, payload: impl IntoPayload) -> Payload {
        let payload = payload.into_payload();
        let wanted = |received: &Received| matches!(received, Received::Push(sent) if is(sent, event, &payload));
        self.assert(wanted, &format!("a push of {event:?} with {}", shown(&payload)))
    }

    /// Asserts that its client got no push of this event.
    ///
    /// # Panics
    ///
    /// If there is one.
    #[track_caller]
    pub fn refute_push(&mut self, event: &str) {
        self.refute(
            |received| matches!(received, Received::Push(sent) if sent.event == event),
            &format!("a push of {event:?}"),
        );
    }

    /// Asserts a broadcast of this event to its client. Returns its payload.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn assert_broadcast(&mut self, event: &str, payload: impl IntoPayload) -> Payload {
        let payload = payload.into_payload();
        let wanted = |received: &Received| matches!(received, Received::Broadcast(sent) if is(sent, event, &payload));
        self.assert(wanted, &format!("a broadcast of {event:?} with {}", shown(&payload)))
    }

    /// Asserts that its client got no broadcast of this event.
    ///
    /// # Panics
    ///
    /// If there is one.
    #[track_caller]
    pub fn refute_broadcast(&mut self, event: &str) {
        let unwanted = |received: &Received| matches!(received, Received::Broadcast(sent) if sent.event == event);
        self.refute(unwanted, &format!("a broadcast of {event:?}"));
    }

    /// Asserts that it ended without a fault: by a leave or a stop.
    ///
    /// # Panics
    ///
    /// If it didn't.
    #[track_caller]
    pub fn assert_close(&mut self) {
        self.assert(|received| *received == Received::Close, "the channel's close");
    }

    /// Asserts that it ended by a fault.
    ///
    /// # Panics
    ///
    /// If it didn't.
    #[track_caller]
    pub fn assert_error(&mut self) {
        self.assert(|received| *received == Received::Error, "the channel's error");
    }

    /// Asserts that its connection was closed.
    ///
    /// # Panics
    ///
    /// If it wasn't.
    #[track_caller]
    pub fn assert_disconnected(&mut self) {
        self.assert(|received| *received == Received::Disconnected, "the connection's end");
    }

    /// Removes all other messages, and returns them as frames of version 2. Binary frames are arrays of numbers.
    pub fn received(&mut self) -> Vec<Value> {
        let frames =
            self.role(|role| role.received.iter().map(|received| client::shown(role.frame(received))).collect());
        self.flush();
        frames
    }

    /// Removes all messages.
    pub fn flush(&mut self) {
        self.change(|role| {
            role.received.clear();
            Some(())
        });
    }

    /// Removes the first message that matches. Returns its payload, or `{}` if it isn't an event or a reply.
    #[track_caller]
    fn assert(&mut self, wanted: impl Fn(&Received) -> bool, what: &str) -> Payload {
        let found = self.change(|role| {
            let at = role.received.iter().position(wanted)?;
            role.received.remove(at)
        });
        match found {
            Some(Received::Reply(_, reply) | Received::Unmatched(_, reply)) => reply.payload.into(),
            Some(Received::Push(sent) | Received::Broadcast(sent)) => sent.payload.into(),
            Some(Received::Close | Received::Error | Received::Disconnected) => crate::output::empty(),
            None => self.fail(what),
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let mut received = String::new();
        self.role(|role| {
            for each in &role.received {
                let _ = write!(received, "\n  {}", described(each));
            }
        });
        for fault in self.world.borrow().faults() {
            let _ = write!(received, "\n  (a callback ended in a fault: {fault})");
        }
        let (topic, received) =
            (self.role(|role| role.topic.to_string()), if received.is_empty() { " nothing" } else { &received });
        panic!("the member of {topic:?} expected {what}; it received{received}");
    }

    #[track_caller]
    fn refute(&mut self, unwanted: impl Fn(&Received) -> bool, what: &str) {
        let found = self.role(|role| role.received.iter().find(|received| unwanted(received)).map(described));
        if let Some(received) = found {
            panic!("the member received {what}, which it must not receive:\n  {received}");
        }
    }

    fn role<T>(&self, look: impl FnOnce(&Role) -> T) -> T {
        look(self.world.borrow().role(self.id).expect("an actor is a member"))
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Role) -> Option<T>) -> Option<T> {
        change(self.world.borrow_mut().role_mut(self.id)?)
    }
}

/// Calls a method of a world.
///
/// # Panics
///
/// If more turns follow from it than a world allows.
#[track_caller]
pub(super) fn act<T>(world: &RefCell<World<NativeRoutes>>, act: impl FnOnce(&mut World<NativeRoutes>) -> T) -> T {
    let mut world = world.borrow_mut();
    let result = act(&mut world);
    assert!(!world.is_endless(), "the members sent {TURNS_MAX} messages, and go on");
    result
}

/// For `unwrap_err` of a join.
impl fmt::Debug for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Actor").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The reply to this message, if this is one.
fn reply_to<'a>(received: &'a Received, to: &Pushed) -> Option<&'a bennu_semantics::Reply> {
    match received {
        Received::Reply(reference, reply) | Received::Unmatched(reference, reply) if *reference == to.0 => Some(reply),
        _ => None,
    }
}

fn described(received: &Received) -> String {
    match received {
        Received::Reply(_, reply) | Received::Unmatched(_, reply) => {
            let Reply { status, payload } = reply.clone().into();
            format!("a reply {status:?} with {}", shown(&payload))
        }
        Received::Push(sent) => format!("a push of {:?} with {}", &*sent.event, shown(&sent.payload.clone().into())),
        Received::Broadcast(sent) => {
            format!("a broadcast of {:?} with {}", &*sent.event, shown(&sent.payload.clone().into()))
        }
        Received::Close => "the channel's close".to_owned(),
        Received::Error => "the channel's error".to_owned(),
        Received::Disconnected => "the connection's end".to_owned(),
    }
}

fn is(sent: &Sent, event: &str, payload: &Payload) -> bool {
    *sent.event == *event && has(payload, &sent.payload.clone().into())
}

/// Whether a payload matches the expected one. An object may have additional fields.
fn has(expected: &Payload, received: &Payload) -> bool {
    match (expected, received) {
        (Payload::Json(expected), Payload::Json(received)) => {
            match (serde_json::from_str(expected), serde_json::from_str(received)) {
                (Ok(expected), Ok(received)) => contains(&expected, &received),
                _ => false,
            }
        }
        (expected, received) => expected == received,
    }
}

fn contains(expected: &Value, received: &Value) -> bool {
    match (expected, received) {
        (Value::Object(expected), Value::Object(received)) => expected
            .iter()
            .all(|(key, expected)| received.get(key).is_some_and(|received| contains(expected, received))),
        (Value::Array(expected), Value::Array(received)) => {
            expected.len() == received.len()
                && expected.iter().zip(received).all(|(expected, received)| contains(expected, received))
        }
        (expected, received) => expected == received,
    }
}

fn shown(payload: &Payload) -> String {
    match payload {
        Payload::Json(text) => text.clone(),
        Payload::Binary(bytes) => format!("the bytes {bytes:?}"),
    }
}
