//! What a callback of a topic may ask of its host: there is no member, and so less than a [`Socket`](crate::Socket) can do.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::socket;
use crate::output::as_json;
use crate::presence::Presences;
use crate::room::Shared;
use crate::{IntoPayload, tick};

/// A topic, in the hands of [`Channel::handle_message`](crate::Channel::handle_message),
/// [`Channel::handle_tick`](crate::Channel::handle_tick) or [`Channel::handle_seat`](crate::Channel::handle_seat).
///
/// `R` is [`Channel::Room`](crate::Channel::Room): `&mut Topic` will do where there is none.
#[derive(Debug)]
pub struct Topic<R = ()> {
    name: String,
    pub(crate) room: Shared<R>,
}

impl<R> Topic<R> {
    pub(crate) fn new(name: String, room: Shared<R>) -> Self {
        Self { name, room }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends an event to all members of the topic.
    pub fn broadcast(&mut self, event: &str, payload: impl IntoPayload) {
        socket::broadcast(event, &payload.into_payload());
    }

    /// Sends an event to all members of another topic. As for [`Socket::publish`](crate::Socket::publish).
    pub fn publish(&mut self, topic: &str, event: &str, payload: impl IntoPayload) {
        socket::publish(topic, event, &payload.into_payload());
    }

    /// Sends an event to another topic's `handle_message`, whose answer is lost.
    pub fn send(&mut self, topic: &str, event: &str, payload: impl IntoPayload) {
        socket::send(topic, event, &payload.into_payload());
    }

    /// Closes every socket with this id. As for [`Socket::disconnect`](crate::Socket::disconnect).
    pub fn disconnect(&mut self, socket_id: &str) {
        socket::disconnect(socket_id);
    }

    /// Sets the topic's beat. As for [`Socket::tick`](crate::Socket::tick).
    pub fn tick(&mut self, period: Duration) {
        tick::set(period);
    }

    /// Publishes a state of the topic. As for [`Socket::publish_state`](crate::Socket::publish_state).
    pub fn publish_state(&mut self, state: impl Serialize) {
        socket::publish_state(&as_json(&state));
    }

    /// Who is online in the topic.
    pub fn presences(&self) -> Presences {
        Presences::of(&self.name)
    }
}

impl<R: Default + Serialize + DeserializeOwned> Topic<R> {
    /// The state that the topic's members share.
    pub fn room(&self) -> &R {
        self.room.get()
    }

    /// The state that the topic's members share, to change it.
    pub fn room_mut(&mut self) -> &mut R {
        self.room.get_mut()
    }

    /// Takes the state that the topic's members share away, a durable one out of the store as well: the next callback finds the
    /// default.
    pub fn clear_room(&mut self) {
        self.room.clear();
    }
}
