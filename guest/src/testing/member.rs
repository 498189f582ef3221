//! A single member, whose callbacks a test calls.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bennu_semantics::{Callback, Ending, Message, Source, Topic, TopicCallback};
use bennu_world::{HostFacts, Resources, SocketFacts, StateSnapshot, decide};
use serde::de::DeserializeOwned;

use super::native::NativeRoutes;
use super::{Delivery, Outcome, Timer, convert, setup};
use crate::plugin::Route;
use crate::{Channel, Decision, IntoPayload, RoomMap, SeatChange, Tick, state};

/// The number of a test's member.
pub(super) const ID: u64 = 1;

/// The most messages that a member may send to itself within one [`Member::advance`].
const DELIVERIES: usize = 10_000;

/// A member of a topic. Each call gets the states that the call before it committed.
pub struct Member<C> {
    pub(super) topic: Topic,
    pub(super) routes: NativeRoutes,
    pub(super) host: HostFacts,
    pub(super) socket: SocketFacts,
    /// Its state, and its topic's.
    pub(super) states: StateSnapshot,
    /// The messages that it sent to itself and has not handled yet.
    pub(super) waiting: VecDeque<Message>,
    /// Its timers, presences and subscriptions.
    pub(super) resources: Resources,
    /// The number of its client's messages: the ref of the last one.
    pub(super) received: u64,
    pub(super) joined: Outcome,
    /// The reason of its end, if it has ended.
    pub(super) ended_by: Option<String>,
    pub(super) channel: PhantomData<C>,
}

/// Events from its client.
impl<C: Channel> Member<C> {
    /// The client sends an event, and waits for a reply.
    #[track_caller]
    pub fn push(&mut self, event: &str, payload: impl IntoPayload) -> Outcome {
        self.received += 1;
        let reply_ref = Some(format!("\"{}\"", self.received).into());
        let payload = payload.into_payload().into();
        self.turn(Callback::In { event: event.into(), payload, reply_ref })
    }

    /// The client sends an event without a ref. It can't be answered later, and a reply has no ref.
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

/// Events from elsewhere.
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

    /// Advances the clock. The member handles its messages to itself, and the timers that fire, in order.
    ///
    /// # Panics
    ///
    /// If it sends more than 10,000 messages to itself.
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

    /// Calls `handle_out` about an intercepted event for this member.
    ///
    /// # Panics
    ///
    /// If the channel doesn't intercept the event, or `handle_out` ends in a fault.
    #[track_caller]
    pub fn handle_out(&mut self, event: &str, payload: impl IntoPayload) -> Decision {
        assert!(C::INTERCEPTS.contains(&event), "{event:?} isn't one of the channel's INTERCEPTS");
        let passing = (event.into(), payload.into_payload().into());
        let (spec, assigns) = (self.spec(), self.states.assigns.clone().unwrap_or_default());
        let (routes, host) = (&mut self.routes, &mut self.host);
        let decided = decide(routes, host, (&spec, &self.topic), (ID, assigns), passing);
        decided.map(Decision::from).unwrap_or_else(|fault| panic!("handle_out ended in a fault: {fault}"))
    }

    /// Calls `handle_tick` with a tick of the test's choice. Ticks run by themselves only on a [`Stage`](super::Stage).
    #[track_caller]
    pub fn tick(&mut self, tick: Tick) -> Outcome {
        self.check_lives();
        self.topic_turn(TopicCallback::Tick(tick.into()))
    }

    /// Calls `handle_seat` with a change of the test's choice. Seats change by themselves only on a
    /// [`Stage`](super::Stage).
    #[track_caller]
    pub fn seat(&mut self, name: &str, change: SeatChange) -> Outcome {
        self.check_lives();
        self.topic_turn(convert::seat(name, change))
    }

    /// Reloads the plugin: the same member, with another channel. A channel with another version upgrades the states
    /// before its next callback. Otherwise it must be able to read them.
    pub fn reload<D: Channel>(self) -> Member<D> {
        let Self { topic, host, socket, states, waiting, resources, .. } = self;
        let (received, joined, ended_by, channel) = (self.received, self.joined, self.ended_by, PhantomData);
        let routes = NativeRoutes::of(Route::to::<D>("*"));
        Member { topic, routes, host, socket, states, waiting, resources, received, joined, ended_by, channel }
    }
}

/// State and results.
impl<C: Channel> Member<C> {
    /// The outcome of its join. The join's response is the reply.
    pub fn joined(&self) -> &Outcome {
        &self.joined
    }

    /// Its state as last committed.
    ///
    /// # Panics
    ///
    /// If the state can't be read.
    #[track_caller]
    pub fn assigns(&self) -> C {
        let (assigns, _) = self.states.bytes();
        state::decode(&assigns).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The topic's shared state as last committed.
    ///
    /// # Panics
    ///
    /// If the state can't be read.
    #[track_caller]
    pub fn room(&self) -> C::Room {
        let (_, Some(room)) = self.states.bytes() else { return C::Room::default() };
        state::decode(&room).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The topic's entries in a map, each with its name.
    ///
    /// # Panics
    ///
    /// If the channel has no [`ENTRIES`](Channel::ENTRIES), or an entry can't be read.
    #[track_caller]
    pub fn entries<T: DeserializeOwned>(&self, map: &RoomMap<T>) -> Vec<(String, T)> {
        setup::entries(self.states.entries.as_ref(), map)
    }

    /// The stored value of a key.
    ///
    /// # Panics
    ///
    /// If it isn't a `T`.
    #[track_caller]
    pub fn stored<T: DeserializeOwned>(&self, key: impl AsRef<[u8]>) -> Option<T> {
        setup::stored(&self.host, key.as_ref())
    }

    /// The deliveries that its callbacks have asked for, in their order. Only a [`Stage`](super::Stage) sends them.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.host.stored.deliveries().iter().map(Delivery::from).collect()
    }

    /// Its pending timers.
    pub fn timers(&self) -> Vec<Timer> {
        self.resources.timers.iter().cloned().map(Timer::from).collect()
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
