//! Effects: messages to some members of a topic.

use crate::host::socket;
use crate::{IntoPayload, Socket, Topic, check};

impl<R: 'static> Socket<R> {
    /// Sends an event to the [`handle_info`](crate::Channel::handle_info) of a member of any topic, with the source
    /// `member`. `member` is the member's number: [`member_id`](Socket::member_id), or
    /// [`topics::members`](crate::topics::members). If the member has ended, nothing happens. The payload may be any
    /// JSON value. The message's `topic` is the topic of the sender.
    ///
    /// ```
    /// use bennu_guest::prelude::*;
    ///
    /// /// A player, who can challenge another one.
    /// #[derive(Serialize, Deserialize)]
    /// struct Player;
    ///
    /// impl Channel for Player {
    ///     type Room = ();
    ///
    ///     fn join(socket: &mut Socket, _params: Payload) -> Join<Self> {
    ///         socket.respond(json!({ "player": socket.member_id() }));
    ///         Ok(Player)
    ///     }
    ///
    ///     fn handle_in(&mut self, socket: &mut Socket, _event: &str, payload: Payload) -> Handled {
    ///         let from = socket.member_id();
    ///         socket.send_member("lobby", payload.field("player")?, "challenge", json!({ "from": from }));
    ///         ok()
    ///     }
    ///
    ///     fn handle_info(&mut self, socket: &mut Socket, message: Message) -> Handled {
    ///         if message.source == "member" {
    ///             socket.push("challenged", message.payload);
    ///         }
    ///         no_reply()
    ///     }
    /// }
    ///
    /// let stage = testing::Stage::new().channel::<Player>("lobby");
    /// let mut ada = stage.join("lobby", json!({})).unwrap();
    /// let mut bob = stage.join("lobby", json!({})).unwrap();
    /// ada.push("challenge", json!({ "player": 2 }));
    /// bob.assert_push("challenged", json!({ "from": 1 }));
    /// ```
    ///
    /// # Faults
    ///
    /// - `failed`: the topic isn't granted, as for [`publish`](Socket::publish).
    /// - `overflow`: too many messages wait for the member: 1,024 (`mailbox_from_elsewhere`), or 4 MiB of them
    ///   (`mailbox_bytes_from_elsewhere`).
    #[track_caller]
    pub fn send_member(&mut self, topic: &str, member: u64, event: &str, payload: impl IntoPayload) {
        socket::send_member(check::name("a topic", topic), member, event, &check::message(event, payload));
    }

    /// Sends an event to the client of each member of a topic whose socket has this id, for example to all tabs of one
    /// user. It is like [`push`](Socket::push), for other members. If there is no such member, nothing happens.
    ///
    /// # Faults
    ///
    /// `failed`: the topic isn't granted, as for [`publish`](Socket::publish).
    #[track_caller]
    pub fn push_to_socket(&mut self, topic: &str, socket_id: &str, event: &str, payload: impl IntoPayload) {
        let (topic, socket_id) = (check::name("a topic", topic), check::name("a socket's id", socket_id));
        socket::push_to_socket(topic, socket_id, event, &check::event(event, payload));
    }
}

impl<R: 'static> Topic<R> {
    /// Sends an event to the [`handle_info`](crate::Channel::handle_info) of a member of any topic. See
    /// [`Socket::send_member`](crate::Socket::send_member).
    #[track_caller]
    pub fn send_member(&mut self, topic: &str, member: u64, event: &str, payload: impl IntoPayload) {
        socket::send_member(check::name("a topic", topic), member, event, &check::message(event, payload));
    }

    /// Sends an event to the client of each member of a topic whose socket has this id. See
    /// [`Socket::push_to_socket`](crate::Socket::push_to_socket).
    #[track_caller]
    pub fn push_to_socket(&mut self, topic: &str, socket_id: &str, event: &str, payload: impl IntoPayload) {
        let (topic, socket_id) = (check::name("a topic", topic), check::name("a socket's id", socket_id));
        socket::push_to_socket(topic, socket_id, event, &check::event(event, payload));
    }
}
