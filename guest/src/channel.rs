//! The trait that a plugin's author implements.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Decided, Decision, Ending, Handled, Join, Message, Old, Payload, SeatChange, Seated, Socket, Tick, Ticked, Topic,
    Upgraded, as_it_is, log, no_reply, unknown_event,
};

/// What a channel means. The implementing struct is one member's state.
///
/// Every method gets the state as it was last committed, and what it changes is committed with the effects that it asked
/// of the [`Socket`], all together, once it has returned.
pub trait Channel: Sized + Serialize + DeserializeOwned {
    /// The state that all members of a topic share, a room: read and written by [`Socket::room`] and [`Socket::room_mut`], and
    /// its default for a topic where nobody has written it yet. `()` means none.
    ///
    /// The callbacks of a topic with a room run one after another, so none is overtaken between its reading and its writing.
    type Room: Default + Serialize + DeserializeOwned;

    /// The events that pass through [`handle_out`](Channel::handle_out) on their way to each member.
    const INTERCEPTS: &'static [&'static str] = &[];

    /// What is waited for before a callback runs.
    const TURNS: Turns = Turns::Member;

    /// What a fault leads to.
    const ON_FAULT: OnFault = OnFault::End;

    /// The version of this struct's encoding. Where serde can't read what an earlier build wrote, give it another one, and say
    /// in [`upgrade`](Channel::upgrade) what becomes of the old.
    const ASSIGNS_VERSION: u32 = 0;

    /// The version of the room's encoding, for [`upgrade_room`](Channel::upgrade_room).
    const ROOM_VERSION: u32 = 0;

    /// Whether the room is stored besides, and is there again after a restart of the host. Without a room it doesn't compile.
    const DURABLE: bool = false;

    /// For how long a room outlives its last member: at most a day; `None` is what the host has for it, 10 s.
    const LINGER: Option<Duration> = None;

    /// After so many faults of [`handle_tick`](Channel::handle_tick) in a row the topic ends: its members do, and a room that
    /// isn't durable. `Some(0)` is never; `None` is what the host has for it, 10.
    const TICK_FAULTS: Option<u32> = None;

    /// A client asks to join a topic, with the parameters that it sent along: `Ok` lets it in, [`refuse`](crate::refuse)
    /// doesn't. The `ok` reply carries `{}`, or what [`Socket::respond`] was given; effects follow the reply.
    fn join(socket: &mut Socket<Self::Room>, params: Payload) -> Join<Self>;

    /// The client sent an event. Answer with [`ok`](crate::ok), [`reply`](crate::reply()),
    /// [`reply_error`](crate::reply_error), [`no_reply`] or [`stop`](crate::stop); `?` on a bad payload is an error
    /// reply.
    ///
    /// An error reply undoes nothing: what was changed and asked for before it stands, so look at the payload first.
    fn handle_in(&mut self, socket: &mut Socket<Self::Room>, event: &str, payload: Payload) -> Handled {
        let _ = (socket, payload);
        unknown_event(event)
    }

    /// A message that no client sent. Its source says where it comes from:
    ///
    /// - `self`: this member's own [`Socket::send_self`] or [`Socket::send_after`]
    /// - `intercept`: an event that [`handle_out`](Channel::handle_out) handed over
    /// - `topic`: an event of a topic that it [subscribed](Socket::subscribe) to
    /// - `answer`: the reply to what it [sent](Socket::send) to another topic
    ///
    /// Answer with [`no_reply`] or [`stop`](crate::stop): there is nobody to reply to.
    fn handle_info(&mut self, socket: &mut Socket<Self::Room>, message: Message) -> Handled {
        let _ = socket;
        // Who sends without looking at the answer doesn't miss it.
        if message.source != "answer" {
            log::warn!("nothing handles the message {:?} from {}", message.event, message.source);
        }
        no_reply()
    }

    /// Something was sent to the topic, rather than broadcast: by the host's HTTP API, by `bennu send`, or by another
    /// channel's [`Socket::send`]; whether anyone has joined the topic or not. There is no member. Answer with
    /// [`reply`](crate::reply()) or [`no_reply`]: who sent it gets the answer.
    fn handle_message(topic: &mut Topic<Self::Room>, event: &str, payload: Payload) -> Handled {
        let _ = (topic, payload);
        unknown_event(event)
    }

    /// The topic's beat, begun by [`Socket::tick`] or [`Topic::tick`]. There is no member. Answer with `Ok(())`; a fault costs
    /// this beat.
    ///
    /// A topic that is busy leaves beats out rather than let them pile up: who moves a world moves it by [`Tick::elapsed`].
    fn handle_tick(topic: &mut Topic<Self::Room>, tick: &Tick) -> Ticked {
        // Once is enough: the next one comes soon.
        if tick.is_first() {
            log::warn!("nothing handles the beat of {:?}", topic.name());
        }
        Ok(())
    }

    /// Something has become of a seat of the topic, which members take by [`Socket::take_seat`]. There is no member. Answer with
    /// `Ok(())`; a fault costs this change, and the seat is as it is.
    ///
    /// - `Taken`: by a member, where nobody had it
    /// - `Dropped`: its last member has gone without leaving (its connection ended, it failed, its client joins again), and it is
    ///   kept for its grace period
    /// - `Returned`: a member took it while it was kept
    /// - `Gone`: its last member left, was stopped or gave it up, or nobody came back in time; where the grace period is zero, it is
    ///   gone with the drop
    ///
    /// It comes in a turn of its own, after the callback that led to it: what a member did in its
    /// [`terminate`](Channel::terminate) is done by then.
    fn handle_seat(topic: &mut Topic<Self::Room>, seat: &str, change: SeatChange) -> Seated {
        let _ = (topic, seat, change);
        Ok(())
    }

    /// One of the [`INTERCEPTS`](Channel::INTERCEPTS) is about to reach this member. It reads: it changes no state and
    /// asks for no effect.
    fn handle_out(&self, recipient: &Recipient, event: &str, payload: &Payload) -> Decided {
        let _ = (recipient, event, payload);
        Ok(Decision::Pass)
    }

    /// The member has ended. What is asked of the socket is still carried out. The ending's cause is
    ///
    /// - `left`: the client left the topic
    /// - `replaced`: the same client joined the topic again; said only in a topic with a room, which would keep a ghost
    ///   otherwise
    /// - `closed`: its connection ended
    /// - `stopped`: a callback answered [`stop`](crate::stop), for the reason that is the detail
    /// - `shutdown`: the host is stopping
    /// - `fault`: a callback failed; the detail is the kind of the fault
    /// - `taken-back`: the build that [upgraded](Channel::upgrade) the state failed soon, and the one before it serves again:
    ///   the state is as that one left it
    fn terminate(&mut self, socket: &mut Socket<Self::Room>, ending: Ending) {
        let _ = (socket, ending);
    }

    /// A member's state of another version is about to be given to a callback: [`upgraded`](crate::upgraded) gives what it is
    /// in this one, [`as_it_is`] hands it over unchanged, [`fail`](crate::fail) refuses it, which is a fault. It reads: it
    /// asks for no effect, and not for what is stored either.
    ///
    /// Members upgrade one by one, whenever they are next asked something. The version may also be a newer one, where a build
    /// was taken back.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// #[derive(Serialize, Deserialize)]
    /// struct Chat {
    ///     first: String,
    ///     last: String,
    /// }
    ///
    /// /// What version 1 kept.
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
    fn upgrade(old: &Old) -> Upgraded<Self> {
        let _ = old;
        as_it_is()
    }

    /// A room of another version is about to be given to a callback. As for [`upgrade`](Channel::upgrade).
    fn upgrade_room(old: &Old) -> Upgraded<Self::Room> {
        let _ = old;
        as_it_is()
    }
}

/// What is waited for before a callback runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// The callbacks of one member run one after another; those of two members may run at once.
    Member,
    /// The callbacks of all members of a topic run one after another.
    Topic,
}

/// What a fault in a callback of a member leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// The member ends with `phx_error`, and its client joins again.
    End,
    /// The member lives on with the state that it had, and a client that sent a message gets an `error` reply.
    Keep,
}

/// The member that an intercepted event is about to reach; its state is `self`.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    topic: &'a str,
    member: u64,
}

impl<'a> Recipient<'a> {
    pub(crate) fn new(topic: &'a str, member: u64) -> Self {
        Self { topic, member }
    }

    /// The topic of the event.
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// The member's number.
    pub fn member_id(&self) -> u64 {
        self.member
    }
}
