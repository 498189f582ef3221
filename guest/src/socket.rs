//! What a callback may ask of its host, and read about its member.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::{member, presence, socket};
use crate::output::as_json;
use crate::presence::Presences;
use crate::room::Shared;
use crate::{IntoPayload, Payload, Reply, ReplyRef, TimerId, tick};

/// The member's end of its channel.
///
/// Its effects (push, broadcast, …) are recorded, and carried out in the order asked once the callback has succeeded. An
/// event has at most 255 bytes, and a JSON payload for it must be an object; what can't be carried out ends the callback
/// with a fault.
///
/// `R` is [`Channel::Room`](crate::Channel::Room): `&mut Socket` will do where there is none.
#[derive(Debug)]
pub struct Socket<R = ()> {
    topic: String,
    member: u64,
    reply_ref: Option<String>,
    pub(crate) room: Shared<R>,
    /// Where a join's response goes; none in the other callbacks.
    pub(crate) response: Option<Payload>,
}

/// Effects.
impl<R> Socket<R> {
    /// Sends an event to the member's own client.
    pub fn push(&mut self, event: &str, payload: impl IntoPayload) {
        socket::push(event, &payload.into_payload());
    }

    /// Sends an event to all members of the topic, this one included.
    pub fn broadcast(&mut self, event: &str, payload: impl IntoPayload) {
        socket::broadcast(event, &payload.into_payload());
    }

    /// Sends an event to all members of the topic but this one.
    pub fn broadcast_from(&mut self, event: &str, payload: impl IntoPayload) {
        socket::broadcast_from(event, &payload.into_payload());
    }

    /// Sends an event to all members of another topic. One that none of this plugin's routes match must be granted in
    /// the host's configuration.
    pub fn publish(&mut self, topic: &str, event: &str, payload: impl IntoPayload) {
        socket::publish(topic, event, &payload.into_payload());
    }

    /// Sends an event to another topic's `handle_message`, whether anyone has joined that topic or not. Its reply, if it
    /// gives one, comes to this member's `handle_info` with the source `answer`. Granted as for
    /// [`publish`](Socket::publish).
    pub fn send(&mut self, topic: &str, event: &str, payload: impl IntoPayload) {
        socket::send(topic, event, &payload.into_payload());
    }

    /// From now on this member's `handle_info` gets what is broadcast to another topic, with the source `topic`. One that
    /// none of this plugin's routes match must be granted in the host's configuration.
    pub fn subscribe(&mut self, topic: &str) {
        socket::subscribe(topic);
    }

    /// Ends what [`subscribe`](Socket::subscribe) began.
    pub fn unsubscribe(&mut self, topic: &str) {
        socket::unsubscribe(topic);
    }

    /// Closes every socket with this id; their clients connect again, and what that is answered decides whether they stay
    /// away. The member's own id is always granted, others as for [`publish`](Socket::publish).
    pub fn disconnect(&mut self, socket_id: &str) {
        socket::disconnect(socket_id);
    }

    /// Answers an earlier message, by the [`reply_ref`](Socket::reply_ref) that was taken when it came.
    #[expect(clippy::needless_pass_by_value, reason = "a reply is made to be given away")]
    pub fn reply_later(&mut self, to: &ReplyRef, reply: Reply) {
        socket::reply(&to.0, &reply);
    }

    /// Sends an event to this member's own `handle_info`, behind what already waits for it.
    pub fn send_self(&mut self, event: &str, payload: impl IntoPayload) {
        socket::send_self(event, &payload.into_payload());
    }

    /// Sends an event to this member's own `handle_info` after a while: at least 10 ms, and at most 16 timers a member.
    /// A timer ends with its member.
    pub fn send_after(&mut self, after: Duration, event: &str, payload: impl IntoPayload) -> TimerId {
        let milliseconds = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        TimerId(socket::send_after(milliseconds, event, &payload.into_payload()))
    }

    /// Cancels a timer. One that has fired already is ignored.
    pub fn cancel(&mut self, timer: TimerId) {
        socket::cancel(timer.0);
    }

    /// Has the topic's [`handle_tick`](crate::Channel::handle_tick) called at this period (at least 10 ms) from now on, instead
    /// of at the one set before; [`Duration::ZERO`] ends that. A beat of the same period goes on undisturbed, so every join may
    /// ask for it. It ends with the room; without a room it is a fault.
    pub fn tick(&mut self, period: Duration) {
        tick::set(period);
    }

    /// Publishes a state of the topic, a JSON object: the server finds what changed since the last one, once for all members, and
    /// sends only that. A member gets the whole of it when it joins (the event `room_state`, `{"n": .., "state": ..}`), and from
    /// then on what changed (`room_diff`, `{"n": .., "patch": ..}`, a JSON merge patch by RFC 7396), or the whole again where that
    /// is no longer; the number is one more each time. One that reads too slowly misses changes, and gets the whole once it can.
    /// In the browser, `client/room_state.mjs` puts them together.
    ///
    /// In a merge patch null stands for what is no more: a field that is null counts as absent, and `Option` fields are best
    /// skipped. Arrays are sent whole. Without a room it is a fault.
    pub fn publish_state(&mut self, state: impl Serialize) {
        socket::publish_state(&as_json(&state));
    }

    /// This member sits on a seat of its topic from now on, and on no other: one that it had is given up. Several members may sit
    /// on one, such as the windows of one user, after whom it is named: a name has at most 255 bytes.
    ///
    /// What a seat is for is who drops: when its last member goes without leaving, it is kept for the grace period (at most a
    /// day), and the room with it. Who takes it again within that time has returned, by a new member and as if nothing had
    /// happened; after it the seat is gone. All of this [`handle_seat`](crate::Channel::handle_seat) is told.
    ///
    /// Take it in `join`: a client that joins again is a new member. Without a room it is a fault, and seats end with the host.
    ///
    /// ```
    /// use bennu_guest::prelude::*;
    ///
    /// /// A table at which players sit, and at which those who drop have ten seconds to come back.
    /// #[derive(Serialize, Deserialize)]
    /// struct Player;
    ///
    /// /// By name, whether each is at the table.
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct Table {
    ///     players: std::collections::BTreeMap<String, bool>,
    /// }
    ///
    /// impl Channel for Player {
    ///     type Room = Table;
    ///
    ///     fn join(socket: &mut Socket<Table>, params: Payload) -> Join<Self> {
    ///         let name: String = params.field("name")?;
    ///         socket.take_seat(&name, Duration::from_secs(10));
    ///         Ok(Player)
    ///     }
    ///
    ///     fn handle_seat(topic: &mut Topic<Table>, name: &str, change: SeatChange) -> Seated {
    ///         let players = &mut topic.room_mut().players;
    ///         match change {
    ///             SeatChange::Taken | SeatChange::Returned => drop(players.insert(name.into(), true)),
    ///             SeatChange::Dropped => drop(players.insert(name.into(), false)),
    ///             SeatChange::Gone => drop(players.remove(name)),
    ///         }
    ///         let state = json!(topic.room());
    ///         topic.publish_state(state);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let stage = testing::Stage::new().channel::<Player>("table:*");
    /// let mut ada = stage.join("table:1", json!({ "name": "ada" })).unwrap();
    /// let bob = stage.join("table:1", json!({ "name": "bob" })).unwrap();
    /// assert_eq!(ada.room_state(), Some(json!({ "players": { "ada": true, "bob": true } })));
    ///
    /// // His train goes through a tunnel.
    /// bob.close();
    /// ada.assert_broadcast("room_diff", json!({ "patch": { "players": { "bob": false } } }));
    /// stage.advance(Duration::from_secs(9));
    /// let mut bob = stage.join("table:1", json!({ "name": "bob" })).unwrap();
    /// assert_eq!(bob.room_state(), Some(json!({ "players": { "ada": true, "bob": true } })));
    ///
    /// // She closes her laptop, and doesn't come back.
    /// ada.close();
    /// stage.advance(Duration::from_secs(10));
    /// assert_eq!(bob.room_state(), Some(json!({ "players": { "bob": true } })));
    /// ```
    pub fn take_seat(&mut self, name: &str, grace: Duration) {
        let milliseconds = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        socket::take_seat(name, milliseconds);
    }

    /// This member gives its seat up: if it is the last on it, the seat is gone at once. Without one it is ignored.
    pub fn leave_seat(&mut self) {
        socket::leave_seat();
    }

    /// Sets what the join's `ok` reply carries, instead of `{}`.
    ///
    /// # Panics
    ///
    /// In any callback but `join`.
    pub fn respond(&mut self, response: impl IntoPayload) {
        let slot = self.response.as_mut();
        *slot.expect("socket.respond() is for join: answer a message with reply(..)") = response.into_payload();
    }
}

/// Who is online in the topic. See [`Presences`].
impl<R> Socket<R> {
    /// This member is online under a key (a user's name, say) from now on, until it ends: everybody in the topic is told.
    /// `meta` is a JSON object of at most 4 KiB. A second presence of one member under the same key is a fault.
    pub fn track(&mut self, key: &str, meta: impl Serialize) {
        presence::track(key, &as_json(&meta));
    }

    /// Puts another meta in place of the one that this member has under a key.
    pub fn update_presence(&mut self, key: &str, meta: impl Serialize) {
        presence::update(key, &as_json(&meta));
    }

    /// This member is online under a key no more.
    pub fn untrack(&mut self, key: &str) {
        presence::untrack(key);
    }

    /// Pushes `presence_state`, everybody who is online, to this member's client: phoenix.js's `Presence` begins with it.
    /// Asked for before [`track`](Socket::track), the member's own presence follows as a `presence_diff`.
    pub fn push_presence(&mut self) {
        presence::push_state();
    }

    /// Who is online, as the host knows it before this callback.
    pub fn presences(&self) -> Presences {
        Presences::of(&self.topic)
    }
}

/// The topic's shared state.
impl<R: Default + Serialize + DeserializeOwned> Socket<R> {
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

/// What can be read about the member.
impl<R> Socket<R> {
    /// The topic that the member joined.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The member's number, unique for as long as the host runs.
    pub fn member_id(&self) -> u64 {
        self.member
    }

    /// What stands for the message at hand in a later [`reply_later`](Socket::reply_later). It can be kept in the state.
    /// None where the client waits for no reply, and in every callback but `handle_in`.
    pub fn reply_ref(&self) -> Option<ReplyRef> {
        self.reply_ref.clone().map(ReplyRef)
    }

    /// The id of the member's socket, such as `user_socket:42`, if it has one.
    pub fn socket_id(&self) -> Option<String> {
        member::socket_id()
    }

    /// The user that was granted when the socket connected, if any.
    pub fn user(&self) -> Option<String> {
        member::user()
    }

    /// What else was granted: an object, so that `socket.claims().field::<String>("role")?` reads one of the claims.
    pub fn claims(&self) -> Payload {
        Payload::Json(member::claims())
    }

    /// The ref of the member's join as the client sent it, in JSON: `"1"` with its quotes, or `null`.
    pub fn join_ref(&self) -> String {
        member::join_ref()
    }

    /// How the socket is connected: `websocket` or `longpoll`.
    pub fn transport(&self) -> String {
        member::transport()
    }

    /// The parameters that the client connected with: an object, so that
    /// `socket.connect_params().field::<String>("token")?` reads one of them.
    pub fn connect_params(&self) -> Payload {
        Payload::Json(member::connect_params())
    }

    /// The request headers that start with `x-`, names in lower case, in the order sent.
    pub fn x_headers(&self) -> Vec<(String, String)> {
        member::x_headers()
    }
}

impl<R> Socket<R> {
    pub(crate) fn new(topic: String, member: u64, reply_ref: Option<String>, room: Shared<R>) -> Self {
        Self { topic, member, reply_ref, room, response: None }
    }
}
