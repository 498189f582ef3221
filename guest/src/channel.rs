//! The trait that a plugin's author implements.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Decided, Decision, Ending, Handled, Join, Message, Old, OldEntry, Payload, SeatChange, Seated, Socket, Tick,
    Ticked, Told, Topic, Upgraded, UpgradedEntry, as_it_is, log, no_reply, unknown_event,
};

/// A channel: the callbacks for one kind of topic. The implementing struct is the state of one member.
///
/// Each callback gets the state as it was last committed. After a callback has returned, the host commits the changed
/// state together with the effects that the callback asked for on the [`Socket`]. If a callback fails, nothing is
/// committed.
///
/// A callback has 500 ms of CPU time (`call_cpu_ms`) and 5 s of total time (`call_wall_ms`). Exceeding one of them is a
/// fault `deadline`. The encoded struct has at most 16 KiB (`assigns_bytes`), and the encoded room at most 1 MiB
/// (`room_bytes`). More is a fault `oversize`.
///
/// Only [`Room`](Channel::Room) and [`join`](Channel::join) have no default.
pub trait Channel: Sized + Serialize + DeserializeOwned {
    /// The room: the state that all members of a topic share. [`Socket::room`] reads it, and [`Socket::room_mut`]
    /// changes it. The default value is the room of a topic until a callback writes it. `()`, or another type without a
    /// size, means that the topic has no room, unless it has [entries](Channel::ENTRIES).
    ///
    /// In a topic with a room, the callbacks of all members run one after another. So the room doesn't change while a
    /// callback runs.
    type Room: Default + Serialize + DeserializeOwned + 'static;

    /// Whether the topic has entries: see [`RoomMap`](crate::RoomMap). A topic with entries has a room, also if
    /// [`Room`](Channel::Room) is `()`. The entries live as long as the room; with [`DURABLE`](Channel::DURABLE), they are
    /// stored one by one.
    const ENTRIES: bool = false;

    /// The prefixes of the entries that the topic publishes: their values are JSON, and the members get them as a JSON object
    /// with a field for each entry. First they get the whole object as `room_state`, and then each change as `room_diff`,
    /// whose cost grows with the changed entries only. The module `client/room_state.mjs` follows them. See
    /// [`RoomMap::published`](crate::RoomMap::published) and [`Socket::follow`](crate::Socket::follow).
    ///
    /// There are at most 16 prefixes, each has 1 to 255 bytes, and none begins with another one. They need
    /// [`ENTRIES`](Channel::ENTRIES). The published entries have at most 2 MiB as JSON (`published_bytes`); more is a fault
    /// `oversize`. In a topic that publishes entries, [`Socket::publish_state`](crate::Socket::publish_state) is a fault
    /// `failed`.
    const PUBLISHES: &'static [&'static str] = &[];

    /// The events for which the host calls [`handle_out`](Channel::handle_out) before a member gets them: at most 64.
    const INTERCEPTS: &'static [&'static str] = &[];

    /// Whether the callbacks of different members of a topic may run at the same time. A topic with a room always uses
    /// [`Turns::Topic`].
    const TURNS: Turns = Turns::Member;

    /// What happens to a member after a fault in [`handle_in`](Channel::handle_in),
    /// [`handle_info`](Channel::handle_info) or [`handle_out`](Channel::handle_out).
    const ON_FAULT: OnFault = OnFault::End;

    /// The version of this struct's encoding. Increase it if serde can't read the state that an earlier build wrote,
    /// and convert that state in [`upgrade`](Channel::upgrade).
    const ASSIGNS_VERSION: u32 = 0;

    /// The version of the room's encoding, for [`upgrade_room`](Channel::upgrade_room).
    const ROOM_VERSION: u32 = 0;

    /// The version of the values of the topic's [entries](Channel::ENTRIES), for
    /// [`upgrade_entry`](Channel::upgrade_entry). All maps of the topic have this version.
    const ENTRIES_VERSION: u32 = 0;

    /// Whether the room and its [entries](Channel::ENTRIES) are also stored, so that they survive a restart of the host.
    /// `true` needs a [`Room`](Channel::Room) or entries; otherwise [`channels!`](crate::channels) doesn't compile.
    const DURABLE: bool = false;

    /// How long a room remains after its last member has ended: at most a day. `None` means the host's default, 10 s. A
    /// longer time doesn't compile.
    const LINGER: Option<Duration> = None;

    /// After this number of faults of [`handle_tick`](Channel::handle_tick) in a row, the topic ends: its members get
    /// `phx_error`, and a room that isn't durable is deleted. `Some(0)` means never. `None` means the host's default,
    /// 10.
    const TICK_FAULTS: Option<u32> = None;

    /// The topics whose [`handle_topic_info`](Channel::handle_topic_info) gets a message with the source `start`, each time a
    /// generation of the plugin begins to serve: after a load, a reload, a rollback and a restart of the host. At most 64, which
    /// the pattern matches.
    const START_TOPICS: &'static [&'static str] = &[];

    /// The number of the topic's last broadcasts that the host keeps, at most 10,000. 0 means that it keeps none. A client
    /// that joins again with the position of the last broadcast that it got gets those that it has missed, or is told
    /// that it has missed some. `bennu docs history` describes it.
    const HISTORY_COUNT: u32 = 0;

    /// How long the host keeps these broadcasts: at most a day. `None` means the host's default, 5 minutes. Another value
    /// needs a [`HISTORY_COUNT`](Channel::HISTORY_COUNT).
    const HISTORY_AGE: Option<Duration> = None;

    /// A client asks to join a topic. `params` is the payload of its join. `Ok` admits the client, and
    /// [`refuse`](crate::refuse) refuses it. The `ok` reply contains `{}`, or the payload that was given to
    /// [`Socket::respond`]. Effects follow the reply.
    ///
    /// # Errors
    ///
    /// - [`refuse`](crate::refuse), or `?` on an invalid payload, refuses the join. The client gets an `error` reply,
    ///   and no effect is carried out.
    /// - [`fail`](crate::fail) and a panic are faults. The client gets an `error` reply with the reason `join crashed`.
    fn join(socket: &mut Socket<Self::Room>, params: Payload) -> Join<Self>;

    /// The client sent an event. Answer with [`ok`](crate::ok), [`reply`](crate::reply()),
    /// [`reply_error`](crate::reply_error), [`no_reply`] or [`stop`](crate::stop). The default replies with an error
    /// that names the event.
    ///
    /// # Errors
    ///
    /// - [`refuse`](crate::refuse), or `?` on an invalid payload, is an `error` reply. It rolls back nothing: earlier
    ///   changes and effects of the callback are still committed. So read the payload first.
    /// - [`fail`](crate::fail) and a panic are faults.
    fn handle_in(&mut self, socket: &mut Socket<Self::Room>, event: &str, payload: Payload) -> Handled {
        let _ = (socket, payload);
        unknown_event(event)
    }

    /// A message arrived that no client sent. Answer with [`no_reply`] or [`stop`](crate::stop). `message.source` says
    /// where the message comes from:
    ///
    /// - `self`: this member's own [`Socket::send_self`] or [`Socket::send_after`]
    /// - `intercept`: an event for which [`handle_out`](Channel::handle_out) returned [`Decision::HandOver`]
    /// - `topic`: an event of a topic that this member has [subscribed](Socket::subscribe) to
    /// - `answer`: the reply of another topic to a message that this member [sent](Socket::send)
    /// - `http`: the answer to a [request by HTTP](crate::http::Request::send)
    /// - `member`: a message of another callback ([`Socket::send_member`]), or of another program by the host's API
    ///
    /// The default ignores the message, and logs a warning unless the source is `answer` or `http`.
    ///
    /// # Errors
    ///
    /// A reply, and an error of either kind, are faults: no client waits for an answer.
    fn handle_info(&mut self, socket: &mut Socket<Self::Room>, message: Message) -> Handled {
        let _ = socket;
        // Ignoring an answer is common: many senders need none.
        if !matches!(message.source.as_str(), "answer" | "http") {
            log::warn!("no handle_info: the message {:?} from {} is ignored", message.event, message.source);
        }
        no_reply()
    }

    /// A message was sent to the topic and not broadcast to its members. It comes from the host's HTTP API, from
    /// `bennu send`, or from another channel's [`Socket::send`]. The topic may have no members. Answer with
    /// [`reply`](crate::reply()) or [`no_reply`]; the sender gets the answer. The default replies with an error that
    /// names the event.
    ///
    /// # Errors
    ///
    /// - [`refuse`](crate::refuse), or `?` on an invalid payload, is an `error` reply to the sender.
    /// - [`fail`](crate::fail), a panic and [`stop`](crate::stop) are faults. No member ends.
    fn handle_message(topic: &mut Topic<Self::Room>, event: &str, payload: Payload) -> Handled {
        let _ = (topic, payload);
        unknown_event(event)
    }

    /// The host tells the topic something. The topic may have no members. Return `Ok(())`. `message.source` is:
    ///
    /// - `schedule`: a [schedule](crate::schedule) of the topic is due
    /// - `cron`: a time of a line `plugins.NAME.cron` in the host's configuration has come
    /// - `start`: a generation of the plugin began to serve, and [`START_TOPICS`](Channel::START_TOPICS) names the topic
    ///
    /// Only the host makes these messages. Later hosts may add sources, so ignore unknown ones. The default only logs a warning,
    /// and the schedule is done.
    ///
    /// # Errors
    ///
    /// An error of either kind, and a panic, are faults. No member ends. The host tries a schedule and a time of a cron line
    /// again, five times in total, with growing delays.
    fn handle_topic_info(topic: &mut Topic<Self::Room>, message: Message) -> Told {
        let (event, source, name) = (message.event, message.source, topic.name());
        log::warn!("no handle_topic_info: the message {event:?} from {source} to {name:?} is ignored");
        Ok(())
    }

    /// The topic's tick timer has fired: see [`Socket::tick`] and [`Topic::tick`]. Return `Ok(())`.
    ///
    /// A busy topic skips ticks, and skipped ticks are never made up. A plugin that moves a world must move it by
    /// [`Tick::elapsed`]. The default only logs a warning.
    ///
    /// # Errors
    ///
    /// An error of either kind, and a panic, are faults. The room stays as it was, and no member ends unless there are
    /// too many faults in a row ([`TICK_FAULTS`](Channel::TICK_FAULTS)).
    fn handle_tick(topic: &mut Topic<Self::Room>, tick: &Tick) -> Ticked {
        // Only the first tick is logged, because there may be many a second.
        if tick.is_first() {
            log::warn!("no handle_tick: the ticks of {:?} are ignored", topic.name());
        }
        Ok(())
    }

    /// A seat of the topic has changed: see [`Socket::take_seat`]. Return `Ok(())`. The changes are:
    ///
    /// - `Taken`: a member took the seat, which was free
    /// - `Dropped`: the last member on the seat ended without leaving (its connection ended, it had a fault, or its
    ///   client joined again). The host keeps the seat for its grace period
    /// - `Returned`: a member took the seat during its grace period
    /// - `Gone`: the last member on the seat left, was stopped, or gave the seat up; or the grace period has ended.
    ///   With a grace period of zero, a member that drops causes `Gone` at once
    ///
    /// This callback runs in a turn of its own, after the callback that caused the change. For a member that has ended,
    /// it runs after [`terminate`](Channel::terminate). The default does nothing.
    ///
    /// # Errors
    ///
    /// An error of either kind, and a panic, are faults. That change isn't told again, and the seat itself stays as it
    /// is.
    fn handle_seat(topic: &mut Topic<Self::Room>, seat: &str, change: SeatChange) -> Seated {
        let _ = (topic, seat, change);
        Ok(())
    }

    /// One of the events in [`INTERCEPTS`](Channel::INTERCEPTS) is about to reach this member. Returns what happens to
    /// the event for this member. This callback only reads: it changes no state and has no effects. The default lets
    /// the event pass.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Chat { blocked: Vec<String> }
    /// impl Channel for Chat {
    /// #     type Room = ();
    /// #     fn join(_: &mut Socket, _: Payload) -> Join<Self> { Ok(Chat { blocked: vec!["bob".into()] }) }
    ///     const INTERCEPTS: &'static [&'static str] = &["new_msg"];
    ///
    ///     fn handle_out(&self, _recipient: &Recipient, _event: &str, payload: &Payload) -> Decided {
    ///         let author: String = payload.field("user")?;
    ///         Ok(if self.blocked.contains(&author) { Decision::Drop } else { Decision::Pass })
    ///     }
    /// }
    ///
    /// let mut alice: testing::Member<Chat> = testing::join("room:1", json!({})).unwrap();
    /// assert_eq!(alice.handle_out("new_msg", json!({ "user": "bob" })), Decision::Drop);
    /// ```
    ///
    /// # Errors
    ///
    /// An error of either kind, and a panic, are faults of this member.
    fn handle_out(&self, recipient: &Recipient, event: &str, payload: &Payload) -> Decided {
        let _ = (recipient, event, payload);
        Ok(Decision::Pass)
    }

    /// The member has ended. Pushes, broadcasts and messages to topics are still carried out. Effects on the member
    /// itself, such as timers, presences and seats, are ignored. A panic is a fault, and the changes of this callback
    /// are lost. `ending.cause` is one of:
    ///
    /// - `left`: the client left the topic
    /// - `replaced`: the same client joined the topic again. Only a topic with a room gets this call, so that it can
    ///   remove the old member's data
    /// - `closed`: the client's connection ended
    /// - `stopped`: a callback returned [`stop`](crate::stop); `ending.detail` is its reason
    /// - `kicked`: an operator or another program ended the member; `ending.detail` is the reason, if there is one
    /// - `shutdown`: the host is stopping
    /// - `fault`: a callback failed; `ending.detail` is the kind of the fault
    /// - `taken-back`: the build that had [upgraded](Channel::upgrade) the state was rolled back. The state is as it
    ///   was before the upgrade
    fn terminate(&mut self, socket: &mut Socket<Self::Room>, ending: Ending) {
        let _ = (socket, ending);
    }

    /// Converts a member's state of another version, before a callback gets it. Returns [`upgraded`](crate::upgraded)
    /// with the state in this version, or [`as_it_is`], which lets serde read the old bytes. The default is
    /// [`as_it_is`]. This callback only reads: it has no effects, and it can't use the store.
    ///
    /// The host upgrades each member separately, when its next callback runs. The old version may also be a later one,
    /// after a rollback.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// #[derive(Serialize, Deserialize)]
    /// struct Chat {
    ///     first: String,
    ///     last: String,
    /// }
    ///
    /// /// The state of version 1.
    /// #[derive(Serialize, Deserialize)]
    /// struct Chat1 {
    ///     user: String,
    /// }
    ///
    /// impl Channel for Chat {
    ///     type Room = ();
    ///     const ASSIGNS_VERSION: u32 = 2;
    ///
    ///     fn join(_socket: &mut Socket, params: Payload) -> Join<Self> {
    ///         Ok(params.parse()?)
    ///     }
    ///
    ///     fn upgrade(old: &Old) -> Upgraded<Self> {
    ///         match old.version() {
    ///             1 => {
    ///                 let Chat1 { user } = old.read()?;
    ///                 upgraded(Chat { first: user, last: String::new() })
    ///             }
    ///             other => fail(format!("version {other} isn't known")),
    ///         }
    ///     }
    /// }
    ///
    /// let alice = testing::upgrade::<Chat>(1, Chat1 { user: "alice".into() }).unwrap();
    /// assert_eq!(alice.first, "alice");
    /// assert!(testing::upgrade::<Chat>(3, json!({})).is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`fail`](crate::fail) and any other error refuse the state. That is a fault of the callback that needs the
    /// state. The state itself stays as it was.
    fn upgrade(old: &Old) -> Upgraded<Self> {
        let _ = old;
        as_it_is()
    }

    /// Converts a room of another version, before a callback gets it. The same rules as for
    /// [`upgrade`](Channel::upgrade) apply.
    fn upgrade_room(old: &Old) -> Upgraded<Self::Room> {
        let _ = old;
        as_it_is()
    }

    /// Converts an entry of another version, when a callback reads it. Returns [`RoomMap::upgraded`](crate::RoomMap::upgraded)
    /// with the value in this version, or [`OldEntry::as_it_is`], which lets serde read the old value. The default is
    /// [`OldEntry::as_it_is`]. This callback only reads its argument: it has no effects, and it can't use the store or
    /// entries.
    ///
    /// The host upgrades an entry when a callback first reads it, and commits the new value together with the callback's
    /// changes. Then it runs the callback again from its start. To keep such runs few, it also upgrades some of the entries
    /// that follow. The old version may also be a later one, after a rollback.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Board;
    /// /// A note has an author since version 1. Before, it was only a text.
    /// #[derive(Serialize, Deserialize)]
    /// struct Note {
    ///     author: String,
    ///     text: String,
    /// }
    ///
    /// const NOTES: RoomMap<Note> = RoomMap::new("note/");
    ///
    /// impl Channel for Board {
    /// #     fn join(_: &mut Socket, _: Payload) -> Join<Self> { Ok(Board) }
    ///     type Room = ();
    ///     const ENTRIES: bool = true;
    ///     const ENTRIES_VERSION: u32 = 1;
    ///
    ///     fn upgrade_entry(old: &OldEntry) -> UpgradedEntry {
    ///         match NOTES.name_of(old) {
    ///             Some(_) if old.version() == 0 => {
    ///                 NOTES.upgraded(&Note { author: "somebody".into(), text: old.read()? })
    ///             }
    ///             _ => old.as_it_is(),
    ///         }
    ///     }
    /// }
    ///
    /// let note: Note = testing::upgrade_entry::<Board, _>("note/1", 0, "hi").unwrap();
    /// assert_eq!((note.author.as_str(), note.text.as_str()), ("somebody", "hi"));
    /// ```
    ///
    /// # Errors
    ///
    /// [`fail`](crate::fail) and any other error refuse the entry. That is a fault of the callback that reads the entry. The
    /// entry itself stays as it was.
    fn upgrade_entry(old: &OldEntry) -> UpgradedEntry {
        old.as_it_is()
    }
}

/// Which callbacks of a topic run one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// The callbacks of one member run one after another. The callbacks of different members may run at the same time.
    Member,
    /// The callbacks of all members of a topic run one after another.
    Topic,
}

/// What happens to a member after a fault in one of its callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// The member ends with `phx_error`, and its client joins again.
    End,
    /// The member stays, with the state from before the callback. A client that sent a message gets an `error` reply
    /// with the reason `channel_crash`.
    Keep,
}

/// The member that an intercepted event is about to reach. Its state is the `self` of
/// [`handle_out`](Channel::handle_out).
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    topic: &'a str,
    member: u64,
}

impl<'a> Recipient<'a> {
    pub(crate) fn new(topic: &'a str, member: u64) -> Self {
        Self { topic, member }
    }

    /// Returns the topic of the event.
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// Returns the member's number.
    pub fn member_id(&self) -> u64 {
        self.member
    }
}
