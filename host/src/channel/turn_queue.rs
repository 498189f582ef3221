//! A line of turns: what waits for a member, or for all members of a topic, taken one after another.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytestring::ByteString;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::room::Room;
use super::seat_changes::PendingSeatChanges;
use super::topic_message::TopicMessage;
use super::turn_queues::QueueEntry;
use super::{Channel, MemberEvent, Node, NodeLimits};
use crate::contract::{SeatChange, Tick};
use crate::protocol::Topic;
use crate::pubsub::{AfterTurn, poll_once};

/// A queue of entries, worked through by at most one task. Its length is bounded by the counts that each channel keeps of
/// its own entries, and by the line's own count of letters. Of the others one waits for each seat, and a commit changes two
/// seats at most; there is one beat, and one look at a room for each time that its members are gone.
#[derive(Default)]
pub(super) struct TurnQueue {
    inner: Mutex<Inner>,
    /// The topic's room, while it is open. Apart, for most lines are a member's own and never have one.
    pub(super) room: Mutex<Option<Box<Room>>>,
    /// Where it is known, if it is a topic's.
    member_event: Option<QueueEntry>,
}

#[derive(Default)]
struct Inner {
    jobs: VecDeque<Job>,
    messages: usize,
    message_bytes: usize,
    draining: bool,
    /// What the turns of seats that wait are to tell. Boxed, for most lines are a member's own and have none.
    seat_changes: Option<Box<PendingSeatChanges>>,
}

/// What waits its turn.
pub(super) enum Job {
    /// Something for a member.
    Member(Arc<Channel>, MemberEvent),
    /// Something for the topic itself.
    Message(Box<TopicMessage>),
    /// The topic's beat. At most one waits.
    Tick(Arc<Node>, Topic, Tick),
    /// A seat of the topic: something has become of it, or its grace period may be over. At most one waits for each seat.
    Seat(Arc<Node>, Topic, ByteString),
    /// A look at the topic's room, which may have to end or to return to what it was.
    Review(Arc<Node>, Topic),
    /// A look at it as well, and a word when it is done.
    Settle(Arc<Node>, Topic, oneshot::Sender<()>),
    /// The host is stopping: the topic's room beats no more, and is stored.
    Persist(Arc<Node>, Topic, oneshot::Sender<()>),
}

impl Job {
    fn node(&self) -> &Arc<Node> {
        match self {
            Self::Member(channel, _) => &channel.node,
            Self::Message(message) => &message.node,
            Self::Tick(node, ..) | Self::Seat(node, ..) | Self::Review(node, _) => node,
            Self::Settle(node, ..) | Self::Persist(node, ..) => node,
        }
    }

    fn topic(&self) -> &Topic {
        match self {
            Self::Member(channel, _) => &channel.member.topic,
            Self::Message(message) => &message.topic,
            Self::Tick(_, topic, _) | Self::Seat(_, topic, _) | Self::Review(_, topic) => topic,
            Self::Settle(_, topic, _) | Self::Persist(_, topic, _) => topic,
        }
    }
}

impl TurnQueue {
    /// The line of a topic.
    pub(super) fn placed(place: QueueEntry) -> Self {
        Self { inner: Mutex::default(), room: Mutex::default(), member_event: Some(place) }
    }

    /// Adds an entry. Gives the work of draining the line if nobody is at it.
    pub(super) fn post(self: &Arc<Self>, channel: Arc<Channel>, member_event: MemberEvent) -> Option<Drain> {
        self.enqueue(&mut self.lock(), Job::Member(channel, member_event))
    }

    /// Adds a letter, unless too much waits: then it comes back.
    pub(super) fn post_message(self: &Arc<Self>, message: Box<TopicMessage>, limits: &NodeLimits) -> Posted {
        let mut inner = self.lock();
        if !inner.has_room(1, message.bytes(), limits) {
            return Err(message);
        }
        inner.messages += 1;
        inner.message_bytes += message.bytes();
        Ok(self.enqueue(&mut inner, Job::Message(message)))
    }

    /// Adds what concerns the topic itself, and drains here for as long as nothing has to wait. Not from within a turn.
    pub(super) fn post_and_drain(self: &Arc<Self>, waiting: Job) {
        let drain = self.enqueue(&mut self.lock(), waiting);
        if let Some(drain) = drain {
            drain.run_here();
        }
    }

    /// The same, and drains apart.
    pub(super) fn post_and_spawn(self: &Arc<Self>, waiting: Job) {
        let drain = self.enqueue(&mut self.lock(), waiting);
        if let Some(drain) = drain {
            drain.spawn();
        }
    }

    /// Has the topic's plugin told of a change of a seat, or without one, has the seat's grace period looked at. Where a turn
    /// waits for this seat already, that one does it.
    pub(super) fn post_seat(
        self: &Arc<Self>,
        node: &Arc<Node>,
        topic: &Topic,
        name: &ByteString,
        news: Option<SeatChange>,
    ) {
        let mut inner = self.lock();
        if !inner.seat_changes.get_or_insert_default().note(name, news) {
            return;
        }
        let drain = self.enqueue(&mut inner, Job::Seat(Arc::clone(node), topic.clone(), name.clone()));
        drop(inner);
        if let Some(drain) = drain {
            drain.spawn();
        }
    }

    /// What the turn of a seat is to tell.
    fn take_seat_changes(&self, name: &ByteString) -> Vec<SeatChange> {
        let mut inner = self.lock();
        let changes = inner.seat_changes.as_mut().map(|untold| untold.take(name)).unwrap_or_default();
        inner.seat_changes.take_if(|untold| untold.is_empty());
        changes
    }

    /// Whether so many more letters, of so many bytes together, may wait.
    pub(super) fn has_room(&self, (messages, bytes): (usize, usize), limits: &NodeLimits) -> bool {
        self.lock().has_room(messages, bytes, limits)
    }

    fn enqueue(self: &Arc<Self>, inner: &mut Inner, waiting: Job) -> Option<Drain> {
        if std::mem::replace(&mut inner.draining, true) {
            inner.jobs.push_back(waiting);
            return None;
        }
        // What has to wait for nobody needn't stand in the queue; a letter is counted there.
        let first = match waiting {
            Job::Message(_) => {
                inner.jobs.push_back(waiting);
                None
            }
            waiting => Some(waiting),
        };
        Some(Drain { queue: Arc::clone(self), first })
    }

    /// The next entry, or none, and then nobody is draining any more.
    fn next(&self) -> Option<Job> {
        let mut inner = self.lock();
        let next = inner.jobs.pop_front();
        if let Some(Job::Message(message)) = &next {
            inner.messages -= 1;
            inner.message_bytes -= message.bytes();
        }
        inner.draining = next.is_some();
        if next.is_none() && inner.jobs.capacity() > 0 {
            // An idle channel keeps no room for a queue.
            inner.jobs = VecDeque::new();
        }
        next
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn has_room(&self, messages: usize, bytes: usize, limits: &NodeLimits) -> bool {
        // A single letter is always taken: what brought it has bounds of its own.
        let fits = self.messages == 0 || self.message_bytes.saturating_add(bytes) <= limits.bytes_from_elsewhere;
        fits && self.messages + messages <= limits.from_elsewhere
    }
}

/// The work of draining a line, if nobody is at it; or the letter, for which there is no room.
pub(super) type Posted = Result<Option<Drain>, Box<TopicMessage>>;

/// The work of draining a line. Who gets it must do it, here or in a task of its own.
#[must_use = "a line that isn't drained stands still for ever"]
pub struct Drain {
    queue: Arc<TurnQueue>,
    /// What comes first, where it never stood in the queue.
    first: Option<Job>,
}

impl Drain {
    /// Drains in a task of its own.
    pub fn spawn(self) {
        tokio::spawn(self.run(None));
    }

    /// Drains here for as long as nothing has to wait, and from then on in a task of its own. Most turns wait for
    /// nothing, and a task for each would cost more than the turn. What a turn leaves to be done is done here too.
    ///
    /// Don't call it from within a turn: turns would nest.
    pub fn run_here(mut self) {
        let after_turn = AfterTurn::here();
        let mut is_first = true;
        while let Some(waiting) = self.next() {
            // The caller has looked at the pressure before the first turn. The others may be other clients', and without
            // end: under pressure they go on in a task, where they are held back.
            if !std::mem::take(&mut is_first) && waiting.node().pubsub.pressure.is_high() {
                self.first = Some(waiting);
                return self.spawn();
            }
            // A panic in a turn, or in what follows it, must not leave the line standing still. Each in a guard of its own:
            // the rest of a turn isn't lost with an errand.
            let rest = self.queue.guard(|| self.queue.begin(waiting).and_then(poll_once)).flatten();
            self.queue.guard(|| after_turn.run());
            if rest.is_some() {
                tokio::spawn(self.run(rest));
                return;
            }
        }
    }

    /// Ends a turn that is under way, and drains.
    async fn run(mut self, under_way: Option<BoxFuture<'static, ()>>) {
        let queue = Arc::clone(&self.queue);
        if let Some(turning) = under_way {
            queue.guard_async(turning).await;
        }
        while let Some(waiting) = self.next() {
            let turn = async {
                let pressure = &waiting.node().pubsub.pressure;
                if pressure.is_high() {
                    // Boxed, since it is rare, and the task of each drain would carry the room for it.
                    Box::pin(pressure.hold_back()).await;
                }
                if let Some(turning) = queue.begin(waiting) {
                    turning.await;
                }
            };
            queue.guard_async(turn).await;
        }
    }

    fn next(&mut self) -> Option<Job> {
        self.first.take().or_else(|| self.queue.next())
    }
}

impl TurnQueue {
    /// Does something that may panic, which is a fault of the host: the line goes on.
    fn guard<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        catch_unwind(AssertUnwindSafe(work)).map_err(|_| self.panicked()).ok()
    }

    /// The same for something that may have to wait.
    async fn guard_async(&self, work: impl Future<Output = ()>) {
        if AssertUnwindSafe(work).catch_unwind().await.is_err() {
            self.panicked();
        }
    }

    /// Says it. What a member loses by it is seen to in its turn ([`Channel::panicked`]).
    fn panicked(&self) {
        let topic = self.member_event.as_ref().map(|place| place.topic().as_str());
        tracing::error!(topic, "a fault of the host: a turn panicked");
    }

    /// Takes a turn as far as nothing has to wait. Gives the rest of it, if there may be one.
    fn begin(self: &Arc<Self>, waiting: Job) -> Option<BoxFuture<'static, ()>> {
        let (channel, member_event) = match waiting {
            Job::Member(channel, member_event) => (channel, member_event),
            waiting => return Some(Box::pin(Arc::clone(self).run_topic_job(waiting))),
        };
        channel.count_down(&member_event);
        let turning = channel.take(member_event);
        // A member's own line has no room.
        if self.member_event.is_none() || (turning.is_none() && !self.is_room_open()) {
            return turning;
        }
        let queue = Arc::clone(self);
        Some(Box::pin(async move {
            if let Some(turning) = turning {
                turning.await;
            }
            queue.after_turn(&channel.node, &channel.member.topic).await;
        }))
    }

    /// The turn of what concerns the topic itself.
    async fn run_topic_job(self: Arc<Self>, waiting: Job) {
        let (node, topic) = (Arc::clone(waiting.node()), waiting.topic().clone());
        let is_keeping = matches!(waiting, Job::Persist(..));
        // In a guard of its own: after a panic, too, the room may have to end.
        self.guard_async(self.run_job(waiting)).await;
        if !is_keeping {
            self.after_turn(&node, &topic).await;
        }
    }

    async fn run_job(self: &Arc<Self>, waiting: Job) {
        match waiting {
            Job::Message(message) => message.turn(self).await,
            Job::Tick(node, topic, tick) => self.tick(&node, &topic, tick).await,
            Job::Seat(node, topic, name) => {
                for change in self.take_seat_changes(&name) {
                    self.change_seat(&node, &topic, &name, change).await;
                }
                self.expire_seat(&node, &topic, &name).await;
            }
            Job::Settle(node, topic, settled) => {
                self.after_turn(&node, &topic).await;
                // Of a room with a beat, not every commit is stored at once.
                node.persist_room(self, &topic).await;
                // Who waited may have gone.
                let _ = settled.send(());
            }
            Job::Persist(node, topic, kept) => {
                self.end_ticks();
                node.persist_room(self, &topic).await;
                // Who waited may have lost patience.
                let _ = kept.send(());
            }
            // The look at the room follows each turn.
            Job::Review(..) | Job::Member(..) => {}
        }
    }
}
