//! One socket's membership of one topic.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bennu_semantics::{Callback, Ending, Message, Source, Topic, TopicCallback};
use bennu_world::{HostFacts, SocketFacts, StateSnapshot, decide};
use bytestring::ByteString;
use serde::de::DeserializeOwned;

use super::native::NativeRoutes;
use super::{Outcome, Timer, convert, setup};
use crate::plugin::Route;
use crate::{Channel, Decision, IntoPayload, SeatChange, Tick, state};

/// The number that a test's member has.
pub(super) const ID: u64 = 1;

/// What a member may send to itself within one [`Member::advance`] before it is taken for endless.
const DELIVERIES: usize = 10_000;

/// A member of a topic. What a call commits is what the next one gets.
pub struct Member<C> {
    pub(super) topic: Topic,
    pub(super) routes: NativeRoutes,
    pub(super) host: HostFacts,
    pub(super) socket: SocketFacts,
    /// Its state, and its topic's.
    pub(super) states: StateSnapshot,
    /// What it sent to itself and hasn't handled yet.
    pub(super) waiting: VecDeque<Message>,
    pub(super) timers: Vec<Timer>,
    /// The number that its next timer gets.
    pub(super) next_timer: u64,
    /// The keys of its presences.
    pub(super) presences: Vec<ByteString>,
    /// The further topics that it hears.
    pub(super) topics: Vec<Topic>,
    /// How many messages of its client it got: the ref of the last one.
    pub(super) received: u64,
    pub(super) joined: Outcome,
    /// By what it has ended, if it has.
    pub(super) ended_by: Option<String>,
    pub(super) channel: PhantomData<C>,
}

/// What its client does.
impl<C: Channel> Member<C> {
    /// The client sends an event, and waits for a reply.
    #[track_caller]
    pub fn push(&mut self, event: &str, payload: impl IntoPayload) -> Outcome {
        self.received += 1;
        let reply_ref = Some(format!("\"{}\"", self.received).into());
        let payload = payload.into_payload().into();
        self.turn(Callback::In { event: event.into(), payload, reply_ref })
    }

    /// The client sends an event without a ref: it can't be answered later, and a reply has no ref either.
    #[track_caller]
    pub fn push_without_ref(&mut self, event: &str, payload: impl IntoPayload) -> Outcome {
        let payload = payload.into_payload().into();
        self.turn(Callback::In { event: event.into(), payload, reply_ref: None })
    }

    /// The client leaves the topic.
    #[track_caller]
    pub fn leave(self) -> Outcome {
        self.end(Ending::Left)
    }

    /// The client's connection ends.
    #[track_caller]
    pub fn close(self) -> Outcome {
        self.end(Ending::Closed)
    }

    /// The host stops.
    #[track_caller]
    pub fn shutdown(self) -> Outcome {
        self.end(Ending::Shutdown)
    }
}

/// What no client does.
impl<C: Channel> Member<C> {
    /// `handle_info` gets a message as if the member had sent it to itself.
    #[track_caller]
    pub fn info(&mut self, event: &str, payload: impl IntoPayload) -> Outcome {
        self.turn(Callback::Info(self.message(Source::Own, event, payload.into_payload())))
    }

    /// `handle_info` gets an event that `handle_out` handed over.
    #[track_caller]
    pub fn handed_over(&mut self, event: &str, payload: impl IntoPayload) -> Outcome {
        self.turn(Callback::Info(self.message(Source::Intercept, event, payload.into_payload())))
    }

    /// Time passes: what the member sent to itself and its timers that come due are handled, in order.
    ///
    /// # Panics
    ///
    /// It never stops sending to itself.
    #[track_caller]
    pub fn advance(&mut self, time: Duration) -> Vec<Outcome> {
        let until = self.host.now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let mut outcomes = Vec::new();
        while let Some(message) = self.next_message(until) {
            assert!(outcomes.len() < DELIVERIES, "the member sent {DELIVERIES} messages to itself, and goes on");
            outcomes.push(self.turn(Callback::Info(message)));
        }
        self.host.now = until;
        outcomes
    }

    /// What becomes of an intercepted event that is about to reach this member.
    ///
    /// # Panics
    ///
    /// The channel doesn't intercept the event, or `handle_out` ends in a fault.
    #[track_caller]
    pub fn handle_out(&mut self, event: &str, payload: impl IntoPayload) -> Decision {
        assert!(C::INTERCEPTS.contains(&event), "{event:?} isn't one of the channel's INTERCEPTS");
        let passing = (event.into(), payload.into_payload().into());
        let (spec, assigns) = (self.spec(), self.states.assigns.clone().unwrap_or_default());
        let (routes, host) = (&mut self.routes, &mut self.host);
        let decided = decide(routes, host, (&spec, &self.topic), (ID, assigns), passing);
        decided.map(Decision::from).unwrap_or_else(|fault| panic!("handle_out ended in a fault: {fault}"))
    }

    /// The topic's beat, as the test has it: some may be left out. It comes by itself on a [`Stage`](super::Stage) only.
    #[track_caller]
    pub fn tick(&mut self, tick: Tick) -> Outcome {
        self.check_lives();
        self.topic_turn(TopicCallback::Tick(tick.into()))
    }

    /// Something has become of a seat of the topic, as the test has it. It comes by itself on a [`Stage`](super::Stage) only.
    #[track_caller]
    pub fn seat(&mut self, name: &str, change: SeatChange) -> Outcome {
        self.check_lives();
        self.topic_turn(convert::seat(name, change))
    }

    /// The plugin is reloaded: the same member, under another channel. With another version it upgrades the states before its
    /// next callback, and else it must be able to read them.
    pub fn reload<D: Channel>(self) -> Member<D> {
        let Self { topic, host, socket, states, waiting, timers, next_timer, presences, topics, .. } = self;
        let (received, joined, ended_by, channel) = (self.received, self.joined, self.ended_by, PhantomData);
        let routes = NativeRoutes::of(Route::to::<D>("*"));
        Member {
            topic,
            routes,
            host,
            socket,
            states,
            waiting,
            timers,
            next_timer,
            presences,
            topics,
            received,
            joined,
            ended_by,
            channel,
        }
    }
}

/// What it is.
impl<C: Channel> Member<C> {
    /// What came of its join, whose response is the reply.
    pub fn joined(&self) -> &Outcome {
        &self.joined
    }

    /// Its state as last committed.
    ///
    /// # Panics
    ///
    /// The state can't be read.
    #[track_caller]
    pub fn assigns(&self) -> C {
        let (assigns, _) = self.states.bytes();
        state::decode(&assigns).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The topic's shared state as last committed.
    ///
    /// # Panics
    ///
    /// The state can't be read.
    #[track_caller]
    pub fn room(&self) -> C::Room {
        let (_, Some(room)) = self.states.bytes() else { return C::Room::default() };
        state::decode(&room).unwrap_or_else(|why| panic!("{why}"))
    }

    /// What is stored under a key.
    ///
    /// # Panics
    ///
    /// It isn't a `T`.
    #[track_caller]
    pub fn stored<T: DeserializeOwned>(&self, key: impl AsRef<[u8]>) -> Option<T> {
        setup::stored(&self.host, key.as_ref())
    }

    /// Its timers under way.
    pub fn timers(&self) -> &[Timer] {
        &self.timers
    }

    /// Whether it has ended, by a stop or by a fault.
    pub fn has_ended(&self) -> bool {
        self.ended_by.is_some()
    }
}

/// For `unwrap_err` of a join, whatever the channel is.
impl<C> fmt::Debug for Member<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Member").field("topic", &self.topic).finish_non_exhaustive()
    }
}
