//! A channel: one socket's membership in one topic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use bytestring::ByteString;

use super::event::MemberEvent;
use super::mailbox::{Inbound, Mailbox};
use super::timers::Timers;
use crate::channel::room::{TopicTurns, Topics};
use crate::channel::turn::{Saved, Services, TurnQueue};
use crate::contract::{Call, Callback, Follows, Identity, Member, MemberUsage, Person, SocketFacts, TimerId};
use crate::entries::TopicEntries;
use crate::protocol::{DeflateCount, Frame, Outbound, Ref, Serializer, Topic};
use crate::pubsub::{Audience, Outbox, Subscription, TopicSubscriptionHandle};
use crate::routes::{Route, Turns};

/// The parts of a socket that its channels use.
#[derive(Clone)]
pub struct Connection {
    /// The facts about the socket.
    pub facts: Arc<SocketFacts>,
    /// How its frames are encoded.
    pub serializer: Serializer,
    /// Whether its client takes compressed frames.
    pub deflates: bool,
    /// The queue of its frames.
    pub outbox: Arc<Outbox>,
    /// The events of its client that wait to be handled.
    pub inbound: Arc<Inbound>,
}

impl Connection {
    /// Encodes a frame for this client, and compresses it if that is worth it. Returns `None` if the serializer can't carry
    /// the message.
    #[must_use]
    pub fn encode(&self, message: Outbound<'_>) -> Option<Frame> {
        let plain = self.serializer.encode(message)?;
        let deflated = self.deflates.then(|| plain.deflated_at_once(Frame::OWN_BYTES_MIN)).flatten();
        if let Some(deflated) = &deflated {
            DeflateCount::BytesSaved.add(plain.len() - deflated.len());
        }
        Some(deflated.unwrap_or(plain))
    }
}

/// A membership, from its join on.
pub struct Channel {
    pub(in crate::channel::member) topics: Arc<Topics>,
    pub(in crate::channel::member) member: Arc<Member>,
    pub(in crate::channel::member) connection: Connection,
    /// Whether its client sent no join ref. Such a client puts none into its messages either.
    is_unmarked: bool,
    pub(in crate::channel::member) queue: MemberQueue,
    pub(in crate::channel::member) mailbox: Arc<Mailbox>,
    // Flags that are read without the lock of the state, because sockets ask for them often. Writers release and
    // readers acquire them, so that a reader that sees a flag also sees what came before it.
    /// Whether its client has asked to leave.
    pub(in crate::channel::member) is_leaving: AtomicBool,
    /// Whether it has ended or was replaced.
    is_over: AtomicBool,
    /// Whether a fault outside its turns is queued. One is enough.
    pub(in crate::channel::member) is_fault_queued: AtomicBool,
    /// Whether an event is queued that ends it in any case and isn't its client's. One is enough.
    pub(in crate::channel::member) is_ending_queued: AtomicBool,
    /// Whether the end by an operator is queued. One is enough.
    pub(in crate::channel::member) is_kick_queued: AtomicBool,
    /// Whether it still counts among the channels of the host.
    is_counted: AtomicBool,
    /// Whether its client asked for recovery, and gets the numbers of broadcasts.
    has_numbers: AtomicBool,
    state: Mutex<State>,
}

/// The queue in which a member's turns wait.
pub(in crate::channel::member) enum MemberQueue {
    /// Its own, shared with the channels that it replaced.
    Own(Arc<TurnQueue<MemberJob>>),
    /// Its topic's.
    Topic(Arc<TopicTurns>),
}

/// A turn of a member. `job.rs` runs it.
pub(in crate::channel::member) struct MemberJob {
    pub(in crate::channel::member) channel: Arc<Channel>,
    /// None once its turn has begun.
    pub(in crate::channel::member) event: Option<MemberEvent>,
}

/// The phase of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel::member) enum Phase {
    /// `join` isn't answered yet.
    Joining,
    /// It is a member.
    Joined,
    /// It has ended. Messages for it are answered as for a topic that isn't joined.
    Ended,
    /// Another join of the same topic has replaced it. Messages for it are dropped.
    Replaced,
}

/// The part of a channel that changes. It is locked for a whole commit, including its effects, and for each read of it,
/// but never across an await. It is the first lock in the order that ARCHITECTURE.md states.
pub(in crate::channel::member) struct State {
    pub(in crate::channel::member) phase: Phase,
    pub(in crate::channel::member) assigns: Saved,
    /// The plugin that admitted it. Another plugin can't read its assigns.
    pub(in crate::channel::member) plugin: Option<Arc<str>>,
    pub(in crate::channel::member) subscription: Option<Subscription>,
    pub(in crate::channel::member) timers: Timers,
    /// The keys of its presences.
    pub(in crate::channel::member) presences: Vec<ByteString>,
    /// The other topics that it is subscribed to.
    pub(in crate::channel::member) subscriptions: Vec<TopicSubscriptionHandle>,
    /// Its remains, while it waits for its `terminate` in the topic's queue.
    pub(in crate::channel::member) replaced: Option<Box<EndedMember>>,
    /// Its seat.
    pub(in crate::channel::member) seat: Option<Box<ByteString>>,
    /// The prefixes of published entries that it follows. None if it follows all of them.
    pub(in crate::channel::member) follows: Option<Box<Follows>>,
}

impl State {
    /// What it has at the host, for the limits of a call. None if it never had anything.
    fn usage(&self) -> Option<MemberUsage> {
        let has_none = self.timers.next() == TimerId::default()
            && self.presences.is_empty()
            && self.subscriptions.is_empty()
            && self.follows.is_none();
        (!has_none).then(|| MemberUsage {
            timers: self.timers.ids(),
            next_timer: self.timers.next(),
            presences: self.presences.clone(),
            topics: self.subscriptions.iter().map(|subscription| subscription.topic().clone()).collect(),
            follows: self.follows.clone(),
        })
    }
}

/// The remains of a membership that has ended, for its `terminate` and its last frames.
pub(in crate::channel::member) struct EndedMember {
    pub(in crate::channel::member) assigns: Saved,
    pub(in crate::channel::member) plugin: Option<Arc<str>>,
    pub(in crate::channel::member) audience: Option<Arc<Audience>>,
    pub(in crate::channel::member) seat: Option<Box<ByteString>>,
}

impl Channel {
    /// The number of a channel for which none was left. No member has it.
    pub(in crate::channel::member) const NUMBERLESS: u64 = 0;

    /// A channel that is about to join, by a message with these refs. Its events come after those of `after`, the last
    /// channel of the same socket and topic, if that one may have events.
    pub(in crate::channel) fn new(
        topics: &Arc<Topics>,
        connection: Connection,
        topic: &str,
        (join_ref, reference): (&Ref, &Ref),
        after: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let topic = topics.services.pubsub.topic(topic);
        // Without a number, its join is refused.
        let id = topics.services.member_numbers.draw().unwrap_or(Self::NUMBERLESS);
        Self::with_id(topics, connection, topic, id, (join_ref, reference), after)
    }

    /// The same, for a member with this number.
    pub(in crate::channel::member) fn with_id(
        topics: &Arc<Topics>,
        connection: Connection,
        topic: Topic,
        id: u64,
        (join_ref, reference): (&Ref, &Ref),
        after: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let services = &topics.services;
        let turns = services.routes.find(topic.as_str()).map_or(Turns::Member, |route| route.spec.turns);
        let queue = match (turns, after.map(|after| &after.queue)) {
            (Turns::Topic, _) => MemberQueue::Topic(topics.of(&topic)),
            (Turns::Member, Some(MemberQueue::Own(queue))) => MemberQueue::Own(Arc::clone(queue)),
            (Turns::Member, _) => MemberQueue::Own(Arc::default()),
        };
        // A client that sent no join ref knows its channel by the ref of its join.
        let mark = if join_ref.is_null() { reference } else { join_ref };
        let socket = Arc::clone(&connection.facts);
        services.channel_made();
        Arc::new(Self {
            topics: Arc::clone(topics),
            member: Arc::new(Member { id, topic, join_ref: mark.detached(), socket }),
            connection,
            is_unmarked: join_ref.is_null(),
            queue,
            mailbox: after.map(|after| Arc::clone(&after.mailbox)).unwrap_or_default(),
            is_leaving: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            is_fault_queued: AtomicBool::new(false),
            is_ending_queued: AtomicBool::new(false),
            is_kick_queued: AtomicBool::new(false),
            is_counted: AtomicBool::new(true),
            has_numbers: AtomicBool::new(false),
            state: Mutex::new(State {
                phase: Phase::Joining,
                assigns: Saved::default(),
                plugin: None,
                subscription: None,
                timers: Timers::default(),
                presences: Vec::new(),
                subscriptions: Vec::new(),
                replaced: None,
                seat: None,
                follows: None,
            }),
        })
    }

    /// The member as others see it: its number, user and socket id.
    pub(in crate::channel) fn person(&self) -> Person {
        let Identity { user, socket_id, .. } = &self.member.socket.identity;
        Person { member: self.member.id, user: user.clone(), socket_id: socket_id.clone() }
    }

    /// Its number and its socket.
    pub(in crate::channel) fn member_facts(&self) -> &Member {
        &self.member
    }

    /// The id of its socket, if the socket has one.
    pub(in crate::channel::member) fn socket_id(&self) -> Option<&str> {
        self.member.socket.identity.socket_id.as_deref()
    }

    /// Its user, if the client was authenticated.
    pub(in crate::channel::member) fn user(&self) -> Option<&str> {
        self.member.socket.identity.user.as_deref()
    }

    /// The join ref of its client's messages, perhaps null.
    #[must_use]
    pub fn join_ref(&self) -> &Ref {
        static NULL: Ref = Ref::NULL;
        if self.is_unmarked { &NULL } else { self.mark() }
    }

    /// The join ref of its own frames.
    #[must_use]
    pub fn mark(&self) -> &Ref {
        &self.member.join_ref
    }

    /// Its topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.member.topic.as_str()
    }

    /// Whether it is over. Messages that are still posted to it are answered as for a topic that isn't joined.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(in crate::channel::member) fn services(&self) -> &Services {
        &self.topics.services
    }

    /// Its topic's turns, if they are also its own.
    pub(in crate::channel::member) fn topic_turns(&self) -> Option<&Arc<TopicTurns>> {
        match &self.queue {
            MemberQueue::Own(_) => None,
            MemberQueue::Topic(topic) => Some(topic),
        }
    }

    /// The route that serves it now. None if its topic has no route, or the route is another plugin's, or the route needs
    /// the other kind of turn queue.
    pub(in crate::channel::member) fn route(&self, plugin: Option<&Arc<str>>) -> Option<Arc<Route>> {
        let route = self.services().routes.find(self.member.topic.as_str())?;
        let has_its_turns = (route.spec.turns == Turns::Topic) == self.topic_turns().is_some();
        (has_its_turns && plugin.is_none_or(|plugin| *plugin == route.plugin)).then_some(route)
    }

    /// Returns the route of its topic, if another generation of the plugin serves it now.
    pub(in crate::channel::member) fn switched_route(&self, from: &Route) -> Option<Arc<Route>> {
        self.route(Some(&from.plugin)).filter(|route| route.generation != from.generation)
    }

    /// Whether the plugin that admitted it still serves its topic.
    pub(in crate::channel) fn is_routed(&self) -> bool {
        let plugin = self.lock().plugin.clone();
        self.route(plugin.as_ref()).is_some()
    }

    /// Whether the build that upgraded its state was rolled back, and its state must still follow.
    pub(in crate::channel) fn must_roll_back(&self) -> bool {
        let mut state = self.lock();
        state.assigns.drop_settled_former();
        state.assigns.must_roll_back()
    }

    /// Its topic's room as last committed, and the entries that a call of this route may use.
    pub(in crate::channel::member) fn room_states(&self, route: &Route) -> (Option<Saved>, Option<Arc<TopicEntries>>) {
        self.topic_turns().map_or((None, None), |topic| (topic.saved_room(), topic.entries(route)))
    }

    /// A call of one of its callbacks, with its timers, presences and subscriptions, and its state, which is put into
    /// the call when the call is made.
    pub(in crate::channel::member) fn call(&self, state: &mut State, callback: Callback) -> (Call, Saved) {
        state.assigns.drop_settled_former();
        let call = Call {
            member: Arc::clone(&self.member),
            assigns: Bytes::new(),
            room: None,
            usage: state.usage().map(Box::new),
            callback,
        };
        (call, state.assigns.clone())
    }

    /// Whether its client gets the numbers of broadcasts. It is set before the member is subscribed, under locks that a
    /// delivery takes later. So it may be relaxed.
    pub(in crate::channel::member) fn has_numbers(&self) -> bool {
        self.has_numbers.load(Ordering::Relaxed)
    }

    pub(in crate::channel::member) fn set_has_numbers(&self) {
        self.has_numbers.store(true, Ordering::Relaxed);
    }

    /// Its topic's audience, while it is a member.
    pub(in crate::channel::member) fn audience(&self) -> Option<Arc<Audience>> {
        self.lock().subscription.as_ref().map(|subscription| Arc::clone(subscription.audience()))
    }

    /// Its committed state, if it is a member and must not be rolled back.
    pub(in crate::channel::member) fn assigns(&self) -> Option<Saved> {
        let mut state = self.lock();
        state.assigns.drop_settled_former();
        (state.phase == Phase::Joined && !state.assigns.must_roll_back()).then(|| state.assigns.clone())
    }

    /// Ends it, once. Returns its remains, or none if it had ended before.
    pub(in crate::channel::member) fn finish(&self) -> Option<EndedMember> {
        let mut state = self.lock();
        matches!(state.phase, Phase::Joining | Phase::Joined).then(|| self.leave_state(&mut state, Phase::Ended))
    }

    pub(in crate::channel::member) fn leave_state(&self, state: &mut State, phase: Phase) -> EndedMember {
        state.phase = phase;
        self.is_over.store(true, Ordering::Release);
        state.timers = Timers::default();
        state.subscriptions = Vec::new();
        let subscription = state.subscription.take();
        if let Some(subscription) = &subscription {
            self.services().pubsub.unsubscribe(subscription);
        }
        if !std::mem::take(&mut state.presences).is_empty() {
            self.services().presence.leave(&self.member.topic, self.member.id);
        }
        EndedMember {
            assigns: std::mem::take(&mut state.assigns),
            plugin: state.plugin.take(),
            audience: subscription.map(|subscription| Arc::clone(subscription.audience())),
            seat: state.seat.take(),
        }
    }

    /// After a turn: a channel that is over no longer counts, although its socket may keep it for a while. The swap
    /// ensures that it is subtracted only once, here or when it is dropped.
    pub(in crate::channel::member) fn count_out(&self) {
        if self.has_ended() && self.is_counted.swap(false, Ordering::AcqRel) {
            self.services().channel_gone();
        }
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    pub(in crate::channel::member) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if *self.is_counted.get_mut() {
            self.services().channel_gone();
        }
    }
}
