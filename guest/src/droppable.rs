//! The effects that send messages of which a slow client needs only the latest.

use crate::host::droppable;
use crate::{IntoPayload, Socket, Topic, check};

/// Droppable messages: of which a slow client needs only the latest, such as the position of a cursor.
///
/// Each message has a key, of at most 255 bytes. Of the messages that wait for a client under one topic, event and key,
/// only the last is kept. It is sent in the place of the first, so it may come before messages that were sent before it.
/// If more waits for a client than a quarter of its outbox, its oldest droppable messages are dropped, whatever their
/// keys. A client that reads fast enough gets every message, unless one callback sends two with the same key. No client
/// is closed because of droppable messages.
///
/// A droppable message must not be the only source of a fact: send the whole position, not the distance from the last
/// one. If a client must know where a cursor stopped, send the last position with [`broadcast`](Socket::broadcast) under
/// another event.
///
/// The members of a topic and `handle_out` get these messages as they get others, and so do members that
/// [subscribe](Socket::subscribe) to the topic: their `handle_info` gets each of them.
impl<R> Socket<R> {
    /// Sends an event to all members of the topic, including this one. A slow client gets only the last of the events
    /// with this key.
    ///
    /// # Faults
    ///
    /// `trap`: the key has more than 255 bytes.
    #[track_caller]
    pub fn broadcast_droppable(&mut self, key: &str, event: &str, payload: impl IntoPayload) {
        droppable::broadcast_droppable(checked(key), event, &check::event(event, payload));
    }

    /// Sends an event to all members of the topic except this one. A slow client gets only the last of the events with
    /// this key.
    ///
    /// ```
    /// use bennu_guest::prelude::*;
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Painter {
    ///     name: String,
    /// }
    ///
    /// impl Channel for Painter {
    ///     type Room = ();
    ///
    ///     fn join(_socket: &mut Socket, params: Payload) -> Join<Self> {
    ///         Ok(Painter { name: params.field("name")? })
    ///     }
    ///
    ///     fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
    ///         match event {
    ///             "cursor" => {
    ///                 let (x, y): (f64, f64) = (payload.field("x")?, payload.field("y")?);
    ///                 // Each painter's cursor has its own key.
    ///                 let cursor = json!({ "name": self.name, "x": x, "y": y });
    ///                 socket.broadcast_from_droppable(&self.name, "cursor", cursor);
    ///                 no_reply()
    ///             }
    ///             _ => unknown_event(event),
    ///         }
    ///     }
    /// }
    ///
    /// let mut ada = testing::join::<Painter>("board:1", json!({ "name": "ada" })).unwrap();
    /// let out = ada.push("cursor", json!({ "x": 1.5, "y": 2.0 }));
    /// assert_eq!(out.broadcasts_from(), [("cursor", json!({ "name": "ada", "x": 1.5, "y": 2.0 }))]);
    /// ```
    ///
    /// # Faults
    ///
    /// As for [`broadcast_droppable`](Socket::broadcast_droppable).
    #[track_caller]
    pub fn broadcast_from_droppable(&mut self, key: &str, event: &str, payload: impl IntoPayload) {
        droppable::broadcast_from_droppable(checked(key), event, &check::event(event, payload));
    }

    /// Sends an event to all members of another topic. A slow client gets only the last of the events with this key.
    ///
    /// # Faults
    ///
    /// As for [`broadcast_droppable`](Socket::broadcast_droppable), and for [`publish`](Socket::publish).
    #[track_caller]
    pub fn publish_droppable(&mut self, topic: &str, key: &str, event: &str, payload: impl IntoPayload) {
        droppable::publish_droppable(check::name("a topic", topic), checked(key), event, &check::event(event, payload));
    }
}

/// Droppable messages: of which a slow client needs only the latest. [`Socket`] describes them.
impl<R> Topic<R> {
    /// Sends an event to all members of the topic. See [`Socket::broadcast_droppable`].
    #[track_caller]
    pub fn broadcast_droppable(&mut self, key: &str, event: &str, payload: impl IntoPayload) {
        droppable::broadcast_droppable(checked(key), event, &check::event(event, payload));
    }

    /// Sends an event to all members of another topic. See [`Socket::publish_droppable`].
    #[track_caller]
    pub fn publish_droppable(&mut self, topic: &str, key: &str, event: &str, payload: impl IntoPayload) {
        droppable::publish_droppable(check::name("a topic", topic), checked(key), event, &check::event(event, payload));
    }
}

/// Checks a key.
#[track_caller]
fn checked(key: &str) -> &str {
    check::name("the key of a droppable message", key)
}
