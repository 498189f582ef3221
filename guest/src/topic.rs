//! The effects that a topic's callback can ask for. There is no member, so there are fewer than in a
//! [`Socket`](crate::Socket).

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::{socket, topics};
use crate::presence::Presences;
use crate::room::Shared;
use crate::{AnswerRef, IntoPayload, Reply, check, tick};

/// A topic, as [`Channel::handle_message`](crate::Channel::handle_message),
/// [`Channel::handle_tick`](crate::Channel::handle_tick) and [`Channel::handle_seat`](crate::Channel::handle_seat) get
/// it.
///
/// These callbacks have no member. The rules and limits of effects are those of [`Socket`](crate::Socket). `R` is the
/// type [`Channel::Room`](crate::Channel::Room). For a channel without a room, write `&mut Topic`.
#[derive(Debug)]
pub struct Topic<R: 'static = ()> {
    name: String,
    pub(crate) room: Shared<R>,
}

impl<R: 'static> Topic<R> {
    pub(crate) fn new(name: String, room: Shared<R>) -> Self {
        Self { name, room }
    }

    /// Returns the topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends an event to all members of the topic.
    #[track_caller]
    pub fn broadcast(&mut self, event: &str, payload: impl IntoPayload) {
        socket::broadcast(event, &check::event(event, payload));
    }

    /// Sends an event to all members of another topic. See [`Socket::publish`](crate::Socket::publish).
    #[track_caller]
    pub fn publish(&mut self, topic: &str, event: &str, payload: impl IntoPayload) {
        socket::publish(check::name("a topic", topic), event, &check::event(event, payload));
    }

    /// Sends an event to another topic's [`handle_message`](crate::Channel::handle_message). Its answer is dropped,
    /// because there is no member that could get it. See [`Socket::send`](crate::Socket::send).
    #[track_caller]
    pub fn send(&mut self, topic: &str, event: &str, payload: impl IntoPayload) {
        socket::send(check::name("a topic", topic), event, &check::message(event, payload));
    }

    /// In [`handle_message`](crate::Channel::handle_message): returns a reference to this message, for a later
    /// [`answer`](Topic::answer). Then return [`no_reply`](crate::no_reply), and the sender waits on: a member that used
    /// [`Socket::send`](crate::Socket::send) for an hour at most, and a caller of the HTTP API for as long as its `wait_ms` says.
    /// `None` if nobody waits for the answer.
    ///
    /// ```
    /// use bennu_guest::prelude::*;
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Judge;
    ///
    /// impl Channel for Judge {
    ///     type Room = Option<AnswerRef>;
    ///
    ///     fn join(_socket: &mut Socket<Self::Room>, _params: Payload) -> Join<Self> {
    ///         Ok(Judge)
    ///     }
    ///
    ///     fn handle_message(topic: &mut Topic<Self::Room>, _event: &str, payload: Payload) -> Handled {
    ///         *topic.room_mut() = topic.answer_ref();
    ///         topic.broadcast("judge", payload);
    ///         no_reply()
    ///     }
    ///
    ///     fn handle_in(&mut self, socket: &mut Socket<Self::Room>, _event: &str, payload: Payload) -> Handled {
    ///         if let Some(question) = socket.room_mut().take() {
    ///             socket.answer(&question, Reply::ok(payload));
    ///         }
    ///         ok()
    ///     }
    /// }
    ///
    /// let stage = testing::Stage::new().channel::<Judge>("court:*");
    /// let mut judge = stage.join("court:1", json!({})).unwrap();
    /// assert!(stage.send("court:1", "ask", json!({ "case": 7 })).unwrap().is_none());
    /// judge.assert_broadcast("judge", json!({ "case": 7 }));
    /// judge.push("verdict", json!({ "case": 7, "is_guilty": false }));
    /// assert_eq!(stage.late_answers(), [("ok", json!({ "case": 7, "is_guilty": false }))]);
    /// ```
    #[must_use = "it identifies the message for a later answer"]
    pub fn answer_ref(&mut self) -> Option<AnswerRef> {
        topics::answer_ref().map(AnswerRef)
    }

    /// Answers an earlier message of any topic of this plugin. See [`answer_ref`](Topic::answer_ref).
    #[expect(clippy::needless_pass_by_value, reason = "callers make the reply only for this call")]
    #[track_caller]
    pub fn answer(&mut self, to: &AnswerRef, reply: Reply) {
        socket::answer(&to.0, check::reply(&reply));
    }

    /// Closes every socket with this id. See [`Socket::disconnect`](crate::Socket::disconnect). Each id needs a grant.
    #[track_caller]
    pub fn disconnect(&mut self, socket_id: &str) {
        socket::disconnect(check::name("a socket's id", socket_id));
    }

    /// Sets the tick period of the topic. See [`Socket::tick`](crate::Socket::tick).
    pub fn tick(&mut self, period: Duration) {
        tick::set(period);
    }

    /// Publishes a state of the topic. See [`Socket::publish_state`](crate::Socket::publish_state).
    #[track_caller]
    pub fn publish_state(&mut self, state: impl Serialize) {
        socket::publish_state(&check::object("a published state", &state));
    }

    /// Returns who is online in the topic.
    pub fn presences(&self) -> Presences {
        Presences::of(&self.name)
    }
}

impl<R: Default + Serialize + DeserializeOwned + 'static> Topic<R> {
    /// Returns the room. See [`Socket::room`](crate::Socket::room).
    pub fn room(&self) -> &R {
        self.room.get()
    }

    /// Returns the room for changes. See [`Socket::room_mut`](crate::Socket::room_mut).
    pub fn room_mut(&mut self) -> &mut R {
        self.room.get_mut()
    }

    /// Deletes the room. See [`Socket::clear_room`](crate::Socket::clear_room).
    pub fn clear_room(&mut self) {
        self.room.clear();
    }
}
