//! The effects that a member's callback can ask for, and the topic's room.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::{entries, socket};
use crate::room::Shared;
use crate::{AnswerRef, IntoPayload, Payload, Reply, ReplyRef, TimerId, check, tick};

/// The member's side of its channel: effects, presence, the room, and data about the member.
///
/// # Effects
///
/// The host records each effect of a callback, and carries the effects out after the callback has succeeded, in the
/// order of the calls. The reply follows them. In `join`, the reply comes first. After a fault, no effect is carried
/// out.
///
/// An invalid effect is a fault of the callback, with one of these kinds:
///
/// - `trap`: what is wrong on any host. An event, a topic or another name has more than 255 bytes, the payload of an
///   event to clients is JSON but not an object, or a value can't be written as JSON. The SDK panics, so the fault has
///   the line of the plugin
/// - `oversize`: a call asks for more than 1,024 effects (`effects_per_call`), or for more than 4 MiB including its
///   answer (`effect_bytes`)
/// - `failed`: the text of a [`Payload::Json`](crate::Payload::Json) isn't JSON
/// - `overflow`: a queue that an effect writes to is full. The host checks this after the callback
///
/// The host checks all of it.
///
/// A payload is any value that implements [`Serialize`], or [`Binary`](crate::Binary) for bytes.
///
/// `R` is the type [`Channel::Room`](crate::Channel::Room). For a channel without a room, write `&mut Socket`.
#[derive(Debug)]
pub struct Socket<R: 'static = ()> {
    pub(crate) topic: String,
    pub(crate) member: u64,
    pub(crate) reply_ref: Option<String>,
    pub(crate) room: Shared<R>,
    /// The response of a join; none in the other callbacks.
    pub(crate) response: Option<Payload>,
}

/// Events, messages, timers, ticks and seats.
impl<R: 'static> Socket<R> {
    /// Sends an event to the member's own client.
    #[track_caller]
    pub fn push(&mut self, event: &str, payload: impl IntoPayload) {
        socket::push(event, &check::event(event, payload));
    }

    /// Sends an event to all members of the topic, including this one.
    #[track_caller]
    pub fn broadcast(&mut self, event: &str, payload: impl IntoPayload) {
        socket::broadcast(event, &check::event(event, payload));
    }

    /// Sends an event to all members of the topic except this one.
    #[track_caller]
    pub fn broadcast_from(&mut self, event: &str, payload: impl IntoPayload) {
        socket::broadcast_from(event, &check::event(event, payload));
    }

    /// Sends an event to all members of another topic. Published to a socket's id, the event `disconnect` closes that
    /// socket, as in Phoenix.
    ///
    /// In a cluster, it goes to the members at all nodes, after the callback's writes are stored. If this node is declared
    /// dead between the two, the event is lost, although the writes are there. So it is with all effects that reach other nodes.
    ///
    /// # Faults
    ///
    /// `failed`: the topic matches none of this plugin's routes, and `plugins.NAME.publish` in the host's configuration
    /// doesn't grant it.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, event: &str, payload: impl IntoPayload) {
        socket::publish(check::name("a topic", topic), event, &check::event(event, payload));
    }

    /// Sends an event to another topic's [`handle_message`](crate::Channel::handle_message). The topic may have no
    /// members. The payload may be any JSON value. If `handle_message` replies, this member's
    /// [`handle_info`](crate::Channel::handle_info) gets the reply, with the source `answer`.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// # fn handle_in(socket: &mut Socket, payload: Payload) -> Handled {
    /// // The answer of `kitchen` comes to handle_info.
    /// socket.send("kitchen", "order", payload);
    /// no_reply()
    /// # }
    /// ```
    ///
    /// # Faults
    ///
    /// - `failed`: the topic isn't granted, as for [`publish`](Socket::publish).
    /// - `overflow`: too many messages wait already. At most 1,024 messages (`mailbox_from_elsewhere`), of 4 MiB
    ///   together (`mailbox_bytes_from_elsewhere`), wait for one topic; and at most 16,384, of 64 MiB together, for one
    ///   plugin.
    #[track_caller]
    pub fn send(&mut self, topic: &str, event: &str, payload: impl IntoPayload) {
        socket::send(check::name("a topic", topic), event, &check::message(event, payload));
    }

    /// Subscribes this member to another topic, until the member ends. Its [`handle_info`](crate::Channel::handle_info)
    /// gets each broadcast of that topic, with the source `topic`. A second call for the same topic has no effect.
    ///
    /// # Faults
    ///
    /// - `failed`: the topic matches none of this plugin's routes, and `plugins.NAME.read` in the host's configuration
    ///   doesn't grant it.
    /// - `oversize`: the member already has 64 subscriptions (`subscriptions_per_member`).
    #[track_caller]
    pub fn subscribe(&mut self, topic: &str) {
        socket::subscribe(check::name("a topic", topic));
    }

    /// Ends a subscription. If there is none, nothing happens.
    pub fn unsubscribe(&mut self, topic: &str) {
        socket::unsubscribe(topic);
    }

    /// Closes every socket with this id. Their clients connect again, and are kept out only if their next connection is
    /// refused.
    ///
    /// # Faults
    ///
    /// `failed`: the id isn't the member's own [`socket_id`](Socket::socket_id), and it isn't granted, as for
    /// [`publish`](Socket::publish).
    #[track_caller]
    pub fn disconnect(&mut self, socket_id: &str) {
        socket::disconnect(check::name("a socket's id", socket_id));
    }

    /// Answers an earlier message of this member, which [`reply_ref`](Socket::reply_ref) identified. A message may be
    /// answered more than once.
    ///
    /// ```
    /// use bennu_guest::prelude::*;
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Oven {
    ///     waiting: Option<ReplyRef>,
    /// }
    ///
    /// impl Channel for Oven {
    ///     type Room = ();
    ///
    ///     fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
    ///         Ok(Oven { waiting: None })
    ///     }
    ///
    ///     fn handle_in(&mut self, socket: &mut Socket, _event: &str, _payload: Payload) -> Handled {
    ///         self.waiting = socket.reply_ref();
    ///         socket.send_after(Duration::from_secs(60), "done", json!({}));
    ///         no_reply()
    ///     }
    ///
    ///     fn handle_info(&mut self, socket: &mut Socket, _message: Message) -> Handled {
    ///         if let Some(to) = self.waiting.take() {
    ///             socket.reply_later(&to, Reply::ok(json!({ "cake": true })));
    ///         }
    ///         no_reply()
    ///     }
    /// }
    ///
    /// let mut alice: testing::Member<Oven> = testing::join("oven", json!({})).unwrap();
    /// alice.push("bake", json!({}));
    /// let later = alice.advance(Duration::from_secs(60));
    /// assert_eq!(later[0].late_replies(), [("ok", json!({ "cake": true }))]);
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "callers make the reply only for this call")]
    #[track_caller]
    pub fn reply_later(&mut self, to: &ReplyRef, reply: Reply) {
        socket::reply(&to.0, check::reply(&reply));
    }

    /// Answers an earlier topic message, which [`Topic::answer_ref`](crate::Topic::answer_ref) identified. If nobody waits for the
    /// answer any more, nothing happens.
    #[expect(clippy::needless_pass_by_value, reason = "callers make the reply only for this call")]
    #[track_caller]
    pub fn answer(&mut self, to: &AnswerRef, reply: Reply) {
        socket::answer(&to.0, check::reply(&reply));
    }

    /// Sends an event to this member's own [`handle_info`](crate::Channel::handle_info), with the source `self`. The
    /// message waits behind the messages that are already in the member's queue. The payload may be any JSON value.
    ///
    /// # Faults
    ///
    /// `overflow`: 1,024 messages (`mailbox_from_elsewhere`), or 4 MiB of them (`mailbox_bytes_from_elsewhere`),
    /// already wait for the member.
    #[track_caller]
    pub fn send_self(&mut self, event: &str, payload: impl IntoPayload) {
        socket::send_self(event, &check::message(event, payload));
    }

    /// Starts a timer. When the timer fires, this member's own [`handle_info`](crate::Channel::handle_info) gets the
    /// event, with the source `self`. The payload may be any JSON value. When the member ends, its timers are
    /// cancelled.
    ///
    /// # Faults
    ///
    /// `oversize`: `after` is shorter than 10 ms (`timer_shortest_ms`), or the member already has 16 running timers
    /// (`timers_per_member`).
    #[track_caller]
    pub fn send_after(&mut self, after: Duration, event: &str, payload: impl IntoPayload) -> TimerId {
        let milliseconds = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        TimerId(socket::send_after(milliseconds, event, &check::message(event, payload)))
    }

    /// Cancels a timer. If the timer has fired already, nothing happens.
    pub fn cancel(&mut self, timer: TimerId) {
        socket::cancel(timer.0);
    }

    /// Sets the tick period of the topic: the host calls [`handle_tick`](crate::Channel::handle_tick) at this period
    /// from now on. [`Duration::ZERO`] ends the ticks. They also end with the room.
    ///
    /// A topic has one tick period. The same period again changes nothing, so every `join` may ask for it. Another
    /// period replaces the current one.
    ///
    /// ```
    /// use bennu_guest::prelude::*;
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Player;
    ///
    /// impl Channel for Player {
    ///     type Room = u64;
    ///
    ///     fn join(socket: &mut Socket<u64>, _params: Payload) -> Join<Self> {
    ///         socket.tick(Duration::from_millis(50));
    ///         Ok(Player)
    ///     }
    ///
    ///     fn handle_tick(topic: &mut Topic<u64>, tick: &Tick) -> Ticked {
    ///         *topic.room_mut() += tick.elapsed().as_millis() as u64;
    ///         topic.broadcast("time", json!({ "ms": topic.room() }));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let stage = testing::Stage::new().channel::<Player>("game:*");
    /// let mut alice = stage.join("game:1", json!({})).unwrap();
    /// stage.advance(Duration::from_millis(50));
    /// alice.assert_broadcast("time", json!({ "ms": 50 }));
    /// ```
    ///
    /// # Faults
    ///
    /// - `oversize`: the period is shorter than 10 ms (`timer_shortest_ms`).
    /// - `failed`: the channel has no room.
    pub fn tick(&mut self, period: Duration) {
        tick::set(period);
    }

    /// Publishes a state of the topic, a JSON object. Clients get the whole state once, and then only its changes:
    ///
    /// - `room_state` with `{"n": .., "state": ..}`: the whole state. A client gets it after its join, if a patch isn't
    ///   shorter than the state, or if it is a slow consumer that missed changes and whose outbox has room again
    /// - `room_diff` with `{"n": .., "patch": ..}`: a change, as a JSON merge patch (RFC 7396)
    ///
    /// `n` is one more for each change. The host finds the changes, once for all members. In a browser,
    /// `client/room_state.mjs` applies both events.
    ///
    /// A merge patch removes a field with null, so a field that is null counts as absent. For an `Option` field, use
    /// `#[serde(skip_serializing_if = "Option::is_none")]`. An array is sent whole.
    ///
    /// # Faults
    ///
    /// - `trap`: the state isn't a JSON object.
    /// - `failed`: the channel has no room, or the host can't read the state: at most 127 levels deep, numbers in the
    ///   range of a double, no lone surrogates.
    /// - `oversize`: the state is larger than the rest of the call's 4 MiB (`effect_bytes`).
    #[track_caller]
    pub fn publish_state(&mut self, state: impl Serialize) {
        socket::publish_state(&check::object("a published state", &state));
    }

    /// Puts this member on a seat of its topic. A member has one seat, so it gives up an earlier one. Several members
    /// may share a seat, for example the windows of one user. So name the seat after the user.
    ///
    /// A seat connects a member that drops with the member that comes back for it. If the last member on a seat ends
    /// without leaving, the host keeps the seat and the room for the grace period. A member that takes the seat within
    /// that time has returned. Otherwise the seat is gone. [`handle_seat`](crate::Channel::handle_seat) is told each
    /// change.
    ///
    /// Take the seat in `join`, because a client that joins again is a new member. Taking the same seat again sets its
    /// grace period. Seats aren't stored: they end with the room or the host.
    ///
    /// ```
    /// use bennu_guest::prelude::*;
    ///
    /// /// A player at a table. A player that drops has ten seconds to come back.
    /// #[derive(Serialize, Deserialize)]
    /// struct Player;
    ///
    /// /// Whether each player, by name, is connected.
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
    /// // Bob's connection breaks, and he comes back in time.
    /// bob.close();
    /// ada.assert_broadcast("room_diff", json!({ "patch": { "players": { "bob": false } } }));
    /// stage.advance(Duration::from_secs(9));
    /// let mut bob = stage.join("table:1", json!({ "name": "bob" })).unwrap();
    /// assert_eq!(bob.room_state(), Some(json!({ "players": { "ada": true, "bob": true } })));
    ///
    /// // Ada's connection breaks, and she doesn't come back.
    /// ada.close();
    /// stage.advance(Duration::from_secs(10));
    /// assert_eq!(bob.room_state(), Some(json!({ "players": { "bob": true } })));
    /// ```
    ///
    /// # Faults
    ///
    /// - `failed`: the channel has no room.
    /// - `trap`: the name has more than 255 bytes, or the grace period is longer than a day.
    #[track_caller]
    pub fn take_seat(&mut self, name: &str, grace: Duration) {
        socket::take_seat(check::name("a seat's name", name), check::grace(grace));
    }

    /// Gives up this member's seat. If the member is the last one on the seat, the seat is gone at once. If the member
    /// has no seat, nothing happens.
    pub fn leave_seat(&mut self) {
        socket::leave_seat();
    }

    /// This member follows the published entries whose keys begin with `prefix`
    /// ([`PUBLISHES`](crate::Channel::PUBLISHES)). Without this call, a member follows all published entries. The first
    /// call ends that. A member gets only the entries that it follows: all of them as `room_state`, and then their changes.
    ///
    /// A prefix covers every key that begins with it: `hand/ada` also covers `hand/adam`, so let a name end with a separator.
    ///
    /// If a callback after the join changes the entries that the member follows, its client gets all of them, after the
    /// callback's other effects.
    ///
    /// ```
    /// use bennu_guest::prelude::*;
    ///
    /// /// The cards of each player, under names such as `ada/1`.
    /// const HANDS: RoomMap<u8> = RoomMap::published("hand/");
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Player;
    ///
    /// impl Channel for Player {
    ///     type Room = ();
    ///     const ENTRIES: bool = true;
    ///     const PUBLISHES: &'static [&'static str] = &["hand/", "table/"];
    ///
    ///     fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
    ///         let name: String = params.field("name")?;
    ///         // Everybody sees the table, and the own hand only.
    ///         socket.follow("table/");
    ///         socket.follow(&format!("hand/{name}/"));
    ///         HANDS.insert(format!("{name}/1"), &7);
    ///         Ok(Player)
    ///     }
    /// }
    ///
    /// let stage = testing::Stage::new().channel::<Player>("game:*");
    /// let ada = stage.join("game:1", json!({ "name": "ada" })).unwrap();
    /// let bob = stage.join("game:1", json!({ "name": "bob" })).unwrap();
    /// assert_eq!(ada.room_state(), Some(json!({ "hand/ada/1": 7 })));
    /// assert_eq!(bob.room_state(), Some(json!({ "hand/bob/1": 7 })));
    /// ```
    ///
    /// # Faults
    ///
    /// - `failed`: `prefix` begins with none of the prefixes in [`PUBLISHES`](crate::Channel::PUBLISHES).
    /// - `oversize`: the member already follows 64 prefixes (`follows_per_member`).
    /// - `trap`: the prefix has more than 255 bytes.
    #[track_caller]
    pub fn follow(&mut self, prefix: &str) {
        entries::follow(check::name("a prefix of entries", prefix));
    }

    /// This member no longer follows `prefix`. If it doesn't follow the prefix, nothing happens. A member that has followed
    /// a prefix, and now follows none, gets no entries.
    pub fn unfollow(&mut self, prefix: &str) {
        entries::unfollow(prefix);
    }

    /// Sets the response in the `ok` reply to a join. The default is `{}`.
    ///
    /// # Panics
    ///
    /// If it is called in any other callback than `join`.
    #[track_caller]
    pub fn respond(&mut self, response: impl IntoPayload) {
        let slot = self.response.as_mut();
        *slot.expect("socket.respond() only works in join: answer a message with reply(..)") = response.into_payload();
    }
}

/// The room: the topic's shared state.
impl<R: Default + Serialize + DeserializeOwned + 'static> Socket<R> {
    /// Returns the room: the state that all members of the topic share. The first access in a callback decodes it.
    ///
    /// # Panics
    ///
    /// If the saved bytes aren't an `R`. That is a fault `trap`; it needs an
    /// [`upgrade_room`](crate::Channel::upgrade_room).
    pub fn room(&self) -> &R {
        self.room.get()
    }

    /// Returns the room for changes. After the callback, the room is encoded and committed: at most 1 MiB
    /// (`room_bytes`); more is a fault `oversize`.
    ///
    /// # Panics
    ///
    /// As for [`room`](Socket::room).
    pub fn room_mut(&mut self) -> &mut R {
        self.room.get_mut()
    }

    /// Deletes the room. If it is durable, it is deleted from the store too. The next callback gets the default.
    pub fn clear_room(&mut self) {
        self.room.clear();
    }
}

impl<R: 'static> Socket<R> {
    pub(crate) fn new(topic: String, member: u64, reply_ref: Option<String>, room: Shared<R>) -> Self {
        Self { topic, member, reply_ref, room, response: None }
    }
}
