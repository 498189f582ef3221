//! A channel: one socket's membership of one topic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use bytestring::ByteString;

use super::mailbox::Mailbox;
use super::saved::Saved;
use super::seats::Departure;
use super::timers::Timers;
use super::turn_queue::{Drain, TurnQueue};
use super::{Inbound, MemberEvent, Node};
use crate::contract::{Call, Callback, Ending, Fault, FaultKind, Identity, Member, MemberUsage, Person, SocketFacts};
use crate::protocol::{Frame, Outbound, Ref, Serializer};
use crate::pubsub::{Audience, Outbox, Subscriber, Subscription, TopicSubscriptionHandle};
use crate::routes::{Route, Turns};

/// What a channel needs of its socket.
#[derive(Clone)]
pub struct Connection {
    /// What is known of the socket.
    pub facts: Arc<SocketFacts>,
    /// How its frames are written.
    pub serializer: Serializer,
    /// Where they go.
    pub outbox: Arc<Outbox>,
    /// What its client has sent and waits to be handled.
    pub inbound: Arc<Inbound>,
}

/// As many entries from the client wait as may. The entry comes back, and the socket's outbox is nudged when there is room.
#[derive(Debug)]
pub struct Full(pub Box<MemberEvent>);

/// A membership, from the asking to join on.
pub struct Channel {
    pub(super) node: Arc<Node>,
    pub(super) member: Arc<Member>,
    connection: Connection,
    /// Whether its client sent no join ref, and marks none of its messages with one.
    is_unmarked: bool,
    /// Whose turns it takes.
    turns: Turns,
    pub(super) queue: Arc<TurnQueue>,
    mailbox: Arc<Mailbox>,
    is_leaving: AtomicBool,
    /// Whether its phase is one of those after its end, readable without the lock.
    is_over: AtomicBool,
    /// Whether a fault outside its turns is in the line: one is enough.
    is_fault_queued: AtomicBool,
    /// Whether an entry that ends it in any case, and isn't its client's, is in the line: likewise.
    is_ending_queued: AtomicBool,
    /// Whether the node counts it as a channel that isn't over.
    is_counted: AtomicBool,
    state: Mutex<State>,
}

/// How far a membership has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// `join` hasn't been answered.
    Joining,
    /// It is in.
    Joined,
    /// It has ended; messages for it are answered as for a topic that isn't joined.
    Ended,
    /// Another join of the same topic took its place; messages for it are lost.
    Replaced,
}

/// What changes. It is locked for a commit, effects included, and for looking, but never across an await.
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) assigns: Saved,
    /// The plugin that let it in. Another plugin can't know what to make of its assigns.
    pub(super) plugin: Option<Arc<str>>,
    pub(super) subscription: Option<Subscription>,
    pub(super) timers: Timers,
    /// The keys of its presences.
    pub(super) presences: Vec<ByteString>,
    /// The further topics that it hears.
    pub(super) subscriptions: Vec<TopicSubscriptionHandle>,
    /// What remains of it while it waits for its `terminate` in the topic's line.
    pub(super) replaced: Option<Box<EndedMember>>,
    /// The seat that it sits on.
    pub(super) seat: Option<Box<ByteString>>,
}

/// What remains of a membership that has ended, for its `terminate` and its last frames.
pub(super) struct EndedMember {
    pub(super) assigns: Saved,
    pub(super) plugin: Option<Arc<str>>,
    pub(super) audience: Option<Arc<Audience>>,
    pub(super) seat: Option<Box<ByteString>>,
}

impl Channel {
    /// A channel that is about to join, by a message with these refs. Its entries come after those of `after`, the last
    /// channel of the same socket and topic, if that may have some.
    #[must_use]
    pub fn new(
        node: &Arc<Node>,
        connection: Connection,
        topic: &str,
        (join_ref, reference): (&Ref, &Ref),
        after: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let topic = node.pubsub.topic(topic);
        let turns = node.routes.find(topic.as_str()).map_or(Turns::Member, |route| route.spec.turns);
        let queue = match (turns, after) {
            (Turns::Topic, _) => node.queues.of(&topic),
            (Turns::Member, Some(after)) if after.turns == Turns::Member => Arc::clone(&after.queue),
            (Turns::Member, _) => Arc::default(),
        };
        // A client that sent no join ref knows its channel by the ref of its join.
        let mark = if join_ref.is_null() { reference } else { join_ref };
        let (id, socket) = (node.next_member(), Arc::clone(&connection.facts));
        node.channel_made();
        Arc::new(Self {
            node: Arc::clone(node),
            member: Arc::new(Member { id, topic, join_ref: mark.detached(), socket }),
            connection,
            is_unmarked: join_ref.is_null(),
            turns,
            queue,
            mailbox: after.map(|after| Arc::clone(&after.mailbox)).unwrap_or_default(),
            is_leaving: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            is_fault_queued: AtomicBool::new(false),
            is_ending_queued: AtomicBool::new(false),
            is_counted: AtomicBool::new(true),
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
            }),
        })
    }

    /// How others see it.
    #[must_use]
    pub(super) fn person(&self) -> Person {
        let Identity { user, socket_id, .. } = &self.member.socket.identity;
        Person { member: self.member.id, user: user.clone(), socket_id: socket_id.clone() }
    }

    /// The join ref that its client's messages carry, perhaps null.
    #[must_use]
    pub fn join_ref(&self) -> &Ref {
        static NULL: Ref = Ref::NULL;
        if self.is_unmarked { &NULL } else { self.mark() }
    }

    /// The join ref that its own frames carry.
    #[must_use]
    pub fn mark(&self) -> &Ref {
        &self.member.join_ref
    }

    /// Its topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.member.topic.as_str()
    }

    /// Whether it is over. What is still posted to it is answered as for a topic that isn't joined.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Adds an entry from the client.
    ///
    /// # Errors
    /// [`Full`] if as many wait as may.
    pub fn post_from_client(self: &Arc<Self>, member_event: MemberEvent) -> Result<Option<Drain>, Full> {
        let (inbound, limits) = (&self.connection.inbound, &self.node.limits);
        if !self.mailbox.admit_from_client(limits, inbound, member_event.bytes()) {
            return Err(Full(Box::new(member_event)));
        }
        if matches!(member_event, MemberEvent::Leave { .. }) {
            self.is_leaving.store(true, Ordering::Release);
        }
        Ok(self.enqueue(member_event))
    }

    /// Whether its client has asked to leave, and that waits for its turn or has had it.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire)
    }

    /// Adds an entry from elsewhere: a timer, the member itself, an intercepted event. Past the limit the member ends.
    pub(super) fn post(self: &Arc<Self>, member_event: MemberEvent) {
        if self.mailbox.admit_from_elsewhere(&self.node.limits, member_event.bytes()) {
            self.enqueue_and_spawn(member_event);
        } else {
            let detail = "too much that came from elsewhere waits (`limits.mailbox_from_elsewhere`, \
                          `limits.mailbox_bytes_from_elsewhere`)";
            self.post_ending(MemberEvent::Fault { fault: Fault::new(FaultKind::Overflow, detail), intercepted: None });
        }
    }

    /// Adds an entry that ends it, if there is none yet: a fault outside its turns, or the loss of its route. There is
    /// always room for it.
    pub(super) fn post_ending(self: &Arc<Self>, member_event: MemberEvent) {
        // A fault may be forgiven.
        let is_one_waiting = if matches!(member_event, MemberEvent::Fault { .. }) {
            &self.is_fault_queued
        } else {
            &self.is_ending_queued
        };
        if !is_one_waiting.swap(true, Ordering::AcqRel) {
            self.enqueue_and_spawn(member_event);
        }
    }

    /// The fault has its turn.
    pub(super) fn fault_handled(&self) {
        self.is_fault_queued.store(false, Ordering::Release);
    }

    /// Its socket has ended, and so it does, behind what waits. There is always room for that.
    pub fn end(self: &Arc<Self>, ending: Ending) {
        if !self.abandon_join() {
            self.enqueue_and_spawn(MemberEvent::Gone(ending));
        }
    }

    /// Ends it at once, since the same client joins the topic anew. A running call commits nothing. Its `terminate` runs only in
    /// a topic with a room, which would keep a ghost otherwise. Whether it was alive: then the client is owed its `phx_close`.
    pub fn replace(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        let was_alive = matches!(state.phase, Phase::Joining | Phase::Joined);
        let was_in_room = state.phase == Phase::Joined && self.queue.is_room_open();
        if was_alive {
            let ended = self.leave_state(&mut state, Phase::Replaced);
            state.replaced = was_in_room.then(|| Box::new(ended));
        }
        drop(state);
        if was_in_room {
            self.enqueue_and_spawn(MemberEvent::Replaced);
        }
        was_alive
    }

    /// What remains of it, if it was replaced in a topic with a room.
    pub(super) fn take_replaced(&self) -> Option<EndedMember> {
        self.lock().replaced.take().map(|ended| *ended)
    }

    /// A join whose socket has gone commits nothing. Whether it was one.
    fn abandon_join(&self) -> bool {
        let mut state = self.lock();
        let is_joining = state.phase == Phase::Joining;
        if is_joining {
            self.leave_state(&mut state, Phase::Replaced);
        }
        is_joining
    }

    fn enqueue(self: &Arc<Self>, member_event: MemberEvent) -> Option<Drain> {
        self.queue.post(Arc::clone(self), member_event)
    }

    /// Where the turn may not be taken here and now.
    fn enqueue_and_spawn(self: &Arc<Self>, member_event: MemberEvent) {
        if let Some(drain) = self.enqueue(member_event) {
            drain.spawn();
        }
    }

    /// Whether so much more from elsewhere may wait, beside the timers that are under way.
    pub(super) fn has_room(&self, events: usize, bytes: usize) -> bool {
        self.mailbox.has_room(&self.node.limits, events, bytes)
    }

    /// An entry has left the line.
    pub(super) fn count_down(&self, member_event: &MemberEvent) {
        match member_event {
            MemberEvent::Join { .. } | MemberEvent::In { .. } | MemberEvent::Leave { .. } => {
                if self.mailbox.handled(&self.connection.inbound, member_event.bytes()) {
                    self.connection.outbox.nudge();
                }
            }
            MemberEvent::Info(_) | MemberEvent::Timer(_) => self.mailbox.handled_from_elsewhere(member_event.bytes()),
            MemberEvent::Fault { .. }
            | MemberEvent::Closed(_)
            | MemberEvent::Gone(_)
            | MemberEvent::Replaced
            | MemberEvent::RolledBack
            | MemberEvent::Unrouted => {}
        }
    }

    /// A turn of it panicked, which is a fault of the host: the member ends as by a plugin's.
    pub(super) fn panicked(&self) {
        tracing::error!(topic = self.member.topic.as_str(), "a fault of the host: a turn panicked");
        if let Some(ended) = self.finish() {
            self.vacate(ended.seat, Departure::Drops);
            self.send_error(ended.audience.as_deref());
        }
    }

    /// After a turn: a channel that is over counts no more, though its socket may keep it for a while.
    pub(super) fn count_out(&self) {
        if self.has_ended() && self.is_counted.swap(false, Ordering::AcqRel) {
            self.node.channel_gone();
        }
    }

    /// The route that serves it now, unless none does, or another plugin's does, or one with other turns: its line isn't
    /// the one that they are taken in.
    pub(super) fn route(&self, plugin: Option<&Arc<str>>) -> Option<Arc<Route>> {
        let route = self.node.routes.find(self.member.topic.as_str())?;
        let is_its_own = plugin.is_none_or(|plugin| *plugin == route.plugin) && route.spec.turns == self.turns;
        is_its_own.then_some(route)
    }

    /// Whether the plugin that let it in still serves its topic.
    pub(super) fn is_routed(&self) -> bool {
        let plugin = self.lock().plugin.clone();
        self.route(plugin.as_ref()).is_some()
    }

    /// Draws the consequence for its topic's room where the build that took that over was taken back. Whether it was.
    pub(super) fn settle_room(&self) -> bool {
        self.turns == Turns::Topic && self.queue.settle_room(&self.node, &self.member.topic)
    }

    /// Its topic's room as last committed.
    pub(super) fn saved_room(&self) -> Option<Saved> {
        if self.turns == Turns::Topic { self.queue.saved_room() } else { None }
    }

    /// Whether the build that took its state over was taken back, and that hasn't had its consequence yet.
    pub(super) fn must_roll_back(&self) -> bool {
        let mut state = self.lock();
        state.assigns.drop_settled_former();
        state.assigns.must_roll_back()
    }

    /// The build that has just written its state may have been taken back since it was asked, and whoever looked through the
    /// topic then didn't find it.
    pub(super) fn roll_back_late(self: &Arc<Self>, state: &State) {
        if state.assigns.must_roll_back() {
            self.post_ending(MemberEvent::RolledBack);
        }
    }

    /// A call of one of its callbacks, with what it has at the host now, and its state, which is put into the call when it
    /// is asked.
    pub(super) fn call(&self, state: &mut State, callback: Callback) -> (Call, Saved) {
        state.assigns.drop_settled_former();
        let call = Call {
            member: Arc::clone(&self.member),
            assigns: Bytes::new(),
            room: None,
            usage: MemberUsage {
                timers: state.timers.ids(),
                next_timer: state.timers.next(),
                presences: state.presences.clone(),
                topics: state.subscriptions.iter().map(|subscription| subscription.topic().clone()).collect(),
            },
            callback,
        };
        (call, state.assigns.clone())
    }

    /// Its committed state, if it is in, and stays.
    pub(super) fn assigns(&self) -> Option<Saved> {
        let mut state = self.lock();
        state.assigns.drop_settled_former();
        (state.phase == Phase::Joined && !state.assigns.must_roll_back()).then(|| state.assigns.clone())
    }

    /// Subscribes it to its topic, and sends the reply to its join in the same moment: the client gets every broadcast
    /// that is made once it has seen the reply, and none before.
    pub(super) fn subscribe(self: &Arc<Self>, reply: Outbound<'_>) -> Subscription {
        let reply = self.encode(reply);
        let subscriber = Subscriber {
            id: self.member.id,
            serializer: self.connection.serializer,
            outbox: Arc::clone(&self.connection.outbox),
            member: Arc::clone(self) as _,
        };
        self.node.pubsub.subscribe(&self.member.topic, &subscriber, reply.as_ref())
    }

    /// Ends it, once. Gives what remains, or none if it had ended before.
    pub(super) fn finish(&self) -> Option<EndedMember> {
        let mut state = self.lock();
        matches!(state.phase, Phase::Joining | Phase::Joined).then(|| self.leave_state(&mut state, Phase::Ended))
    }

    pub(super) fn leave_state(&self, state: &mut State, phase: Phase) -> EndedMember {
        state.phase = phase;
        self.is_over.store(true, Ordering::Release);
        state.timers = Timers::default();
        state.subscriptions = Vec::new();
        let subscription = state.subscription.take();
        if let Some(subscription) = &subscription {
            self.node.pubsub.unsubscribe(subscription);
        }
        if !std::mem::take(&mut state.presences).is_empty() {
            self.node.presence.leave(&self.member.topic, self.member.id);
        }
        EndedMember {
            assigns: std::mem::take(&mut state.assigns),
            plugin: state.plugin.take(),
            audience: subscription.map(|subscription| Arc::clone(subscription.audience())),
            seat: state.seat.take(),
        }
    }

    /// Sends a frame to the client, in the topic's order if it has an audience. What its serializer can't carry (bytes to
    /// a client of version 1) is left out.
    pub(super) fn send(&self, audience: Option<&Audience>, message: Outbound<'_>) {
        let Some(frame) = self.encode(message) else { return };
        match audience {
            Some(audience) => audience.send(&self.connection.outbox, frame),
            None => self.connection.outbox.push(frame),
        }
    }

    fn encode(&self, message: Outbound<'_>) -> Option<Frame> {
        let frame = self.connection.serializer.encode(message);
        if frame.is_none() {
            tracing::debug!(
                topic = self.member.topic.as_str(),
                "a message that this client can't be sent was left out"
            );
        }
        frame
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if *self.is_counted.get_mut() {
            self.node.channel_gone();
        }
    }
}
