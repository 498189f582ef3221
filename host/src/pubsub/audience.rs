//! The subscribers of one topic, and the order in which messages reach them.
//!
//! A broadcast is normally delivered at once, under the audience's lock, so all subscribers see a topic's broadcasts in
//! one order. While a deferred broadcast waits for a plugin's decision, later broadcasts wait in a queue. All other
//! frames for this topic's members wait in the same queue ([`Audience::send`]), so a reply never overtakes a broadcast
//! that was made before it.

use std::any::Any;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use slab::Slab;
use tokio::task::yield_now;

use bennu_semantics::entries::{Shown, Views};

use super::broadcast::Encoded;
use super::droppables::Tally;
use super::entries_update::{EntriesState, EntriesUpdate};
use super::history::History;
use super::placed::{Placed, Subscription};
use super::state_update::{EncodedUpdate, messages};
use super::{
    Broadcast, BroadcastObserver, Deferred, DropKey, DroppableCounts, Handling, Outbox, PubSub, Rejoin, StateUpdate,
    Subscriber, after_turn,
};
use crate::counts::{HighWater, Limit, Rare, Traffic};
use crate::protocol::{CloseCode, Frame, Topic};

/// The number of jobs after which the drain yields to other tasks.
const JOBS_AT_ONCE: u64 = 16;

/// The subscribers and observers of one topic.
pub struct Audience {
    /// One lock for the subscribers, the observers and the queue. A delivery holds it from start to end, so that no two
    /// deliveries interleave and no subscriber is added in between. It is never held during an await.
    inner: Mutex<Inner>,
    /// The number of queued and running jobs, readable without the lock. It is decremented (release) after a job has
    /// pushed its frames. So if [`Audience::send`] loads 0 (acquire), its frame comes after the frames of that job.
    waiting: AtomicUsize,
    /// The host's counts of droppable messages.
    pub(super) droppable: Arc<DroppableCounts>,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) subscribers: Slab<Placed>,
    /// The last broadcasts, if the route of the topic asks for a history. The audience isn't empty while it has one.
    pub(super) history: Option<Box<History>>,
    /// The observers of broadcasts, each with the member number that [`Except`](super::Except) compares.
    observers: Slab<(u64, Arc<dyn BroadcastObserver>)>,
    pub(super) queue: VecDeque<(u64, Job)>,
    /// How many jobs have ever been queued.
    queued: u64,
    /// The number of the running job, while the queue is drained. A subscriber that was added after the job was queued
    /// doesn't get the job: the job is older than its join.
    pub(super) draining: Option<u64>,
    /// The number of the broadcast that the running deferred job decides about, if its topic has a history.
    running: Option<NonZeroU64>,
    /// Whether a numbered broadcast was dropped, and the members that lack it must be told when the queue is empty.
    pub(super) has_lost_numbered: bool,
    /// Whether a broadcast was dropped since the queue was last empty. The warning is logged once for that time.
    has_dropped: bool,
    /// Whether the last subscriber or observer has left. Nobody can be added then, and the registry removes this
    /// audience.
    pub(super) closed: bool,
    /// The views of published entries, if the topic has published some.
    pub(super) views: Option<Box<Views>>,
}

/// An entry of the queue.
pub(super) enum Job {
    Broadcast(Broadcast),
    StateUpdate(StateUpdate),
    /// The position in the topic's history, for the clients that have asked for recovery.
    Position(Broadcast),
    Deferred(Option<NonZeroU64>, Deferred),
    Frame(Arc<Outbox>, Frame),
    /// The whole published state for the subscriber with this key, if that subscriber still has this outbox.
    WholeState(usize, Arc<Outbox>, StateUpdate),
    EntriesUpdate(EntriesUpdate),
    /// The published entries for the subscriber with this key, if that subscriber still has this outbox.
    EntriesState(usize, Arc<Outbox>, EntriesState),
}

impl Job {
    /// Handles a job that doesn't fit into the queue.
    fn refuse(self, inner: &mut Inner) {
        Limit::HandleOutQueue.hit();
        if let Self::Broadcast(_) | Self::Deferred(..) = self {
            Rare::BroadcastsDropped.add(1);
        }
        if let Self::Broadcast(Broadcast { number: Some(_), .. }) | Self::Deferred(Some(_), _) = self {
            inner.lose_numbered();
        }
        if let Self::Frame(outbox, _) = self {
            outbox.close(CloseCode::SlowConsumer);
        } else if let Self::StateUpdate(_) | Self::EntriesUpdate(_) = self {
            // Every subscriber gets the whole state with the next update, or when it catches up.
            inner.forget_shown();
        } else if let Self::WholeState(..) | Self::EntriesState(..) = self {
            // This subscriber isn't current, so it gets the whole state when it catches up.
        } else if !std::mem::replace(&mut inner.has_dropped, true) {
            tracing::warn!("broadcasts of a topic are dropped: {} jobs wait for its handle_out", Audience::WAITING_MAX);
        }
    }
}

impl Audience {
    /// The most jobs that may wait. A plugin call checks [`has_room`](Self::has_room) before its commit, so that it
    /// fails as a whole. A broadcast from elsewhere is dropped if the queue is full. A member whose own frame doesn't
    /// fit is closed as a slow consumer.
    pub const WAITING_MAX: usize = 1024;

    pub(super) fn new(droppable: &Arc<DroppableCounts>) -> Self {
        Self { inner: Mutex::default(), waiting: AtomicUsize::new(0), droppable: Arc::clone(droppable) }
    }

    /// Returns the number of subscribers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().subscribers.len()
    }

    /// Whether there are no subscribers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns [`Subscriber::member`] of each subscriber.
    #[must_use]
    pub fn members(&self) -> Vec<Arc<dyn Any + Send + Sync>> {
        self.lock().subscribers.iter().map(|(_, placed)| Arc::clone(&placed.subscriber.member)).collect()
    }

    /// Returns [`Subscriber::member`] of each subscriber for which `is_wanted` returns true. `is_wanted` is called under
    /// the lock, so it must not wait.
    #[must_use]
    pub fn find(&self, is_wanted: impl Fn(&Subscriber) -> bool) -> Vec<Arc<dyn Any + Send + Sync>> {
        let inner = self.lock();
        let found = inner.subscribers.iter().filter(|(_, placed)| is_wanted(&placed.subscriber));
        found.map(|(_, placed)| Arc::clone(&placed.subscriber.member)).collect()
    }

    /// Returns [`Subscriber::member`] of each subscriber that the running deferred broadcast is for. Subscribers that
    /// were added after the broadcast are left out.
    #[must_use]
    pub fn members_present(&self) -> Vec<Arc<dyn Any + Send + Sync>> {
        self.lock().present().map(|subscriber| Arc::clone(&subscriber.member)).collect()
    }

    /// Returns the number of the broadcast that the running deferred job decides about, if the topic has a history.
    #[must_use]
    pub fn running_number(&self) -> Option<NonZeroU64> {
        self.lock().running
    }

    /// Whether so many more jobs fit into the queue. Always true while no job waits.
    #[must_use]
    pub fn has_room(&self, jobs: usize) -> bool {
        let waiting = self.waiting.load(Ordering::Acquire);
        waiting == 0 || waiting + jobs <= Self::WAITING_MAX
    }

    /// Whether no job waits or runs.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Calls the observers at once, because only the members' copies wait for `handle_out`. Then delivers the
    /// broadcast, or queues it if other jobs wait. If `deferred` is given, it is queued instead of the broadcast. One
    /// lock covers all of it, so observers and subscribers see the broadcasts in the same order, and their numbers have
    /// this order too.
    pub(super) fn broadcast(self: &Arc<Self>, mut broadcast: Broadcast, handling: Handling, pubsub: &PubSub) {
        // Declared before the lock guard, and so dropped after it: the drop of an owner may need this lock.
        let mut owners = Vec::new();
        let mut inner = self.lock();
        if handling.history.is_some() || inner.history.is_some() {
            self.record(&mut inner, &mut broadcast, handling.history, &pubsub.histories);
        }
        pubsub.events.broadcast(&broadcast, handling.is_from_elsewhere);
        for (_, (id, observer)) in &inner.observers {
            if !broadcast.except.leaves_out(*id) {
                owners.extend(observer.observe(&broadcast));
            }
        }
        match handling.deferred {
            Some(deferred) => self.defer(&mut inner, broadcast.number, deferred),
            None if inner.draining.is_some() => self.enqueue(&mut inner, Job::Broadcast(broadcast)),
            None => inner.deliver(&broadcast, &self.droppable),
        }
    }

    /// Delivers a change of the published state, in order with the queued jobs. Returns whether a subscriber may still
    /// lack the current state.
    pub fn update_state(&self, update: StateUpdate) -> bool {
        let mut inner = self.lock();
        if inner.draining.is_some() {
            self.enqueue(&mut inner, Job::StateUpdate(update));
            return true;
        }
        inner.update_state(&update);
        inner.is_anyone_behind()
    }

    /// Sends the whole published state to each subscriber that lacks it, if its outbox has room now. Returns whether a
    /// subscriber still lacks the state.
    pub fn catch_up(&self, state: &StateUpdate) -> bool {
        let mut inner = self.lock();
        // A queued job may be a change that is newer than this state.
        if inner.draining.is_some() {
            return true;
        }
        let messages = messages(state);
        let mut encoded = EncodedUpdate::new(&messages);
        let behind = inner.subscribers.iter_mut().filter(|(_, placed)| !placed.shown.is_current());
        behind.for_each(|(_, placed)| placed.send_update(&mut encoded));
        inner.is_anyone_behind()
    }

    /// Sends one subscriber the whole published state. From then on it gets the changes. Returns whether it may still
    /// lack the current state.
    pub fn follow(&self, subscription: &Subscription, state: &StateUpdate) -> bool {
        let mut inner = self.lock();
        let is_busy = inner.draining.is_some();
        let Some(placed) = inner.subscribers.get_mut(subscription.key) else { return false };
        if !is_busy {
            placed.send_update(&mut EncodedUpdate::new(&messages(state)));
            return !placed.shown.is_current();
        }
        // The state goes behind the queued jobs. Of those jobs, the subscriber gets the ones that were queued after it
        // was added.
        let outbox = Arc::clone(&placed.subscriber.outbox);
        self.enqueue(&mut inner, Job::WholeState(subscription.key, outbox, state.clone()));
        true
    }

    /// Adds an observer. Returns its key, or `None` if the audience is closed.
    pub(super) fn add_observer(&self, id: u64, observer: Arc<dyn BroadcastObserver>) -> Option<usize> {
        let mut inner = self.lock();
        if inner.closed {
            return None;
        }
        Some(inner.observers.insert((id, observer)))
    }

    /// Removes an observer. Returns whether the audience is empty, and therefore closed now.
    pub(super) fn remove_observer(&self, key: usize) -> bool {
        let mut inner = self.lock();
        let removed = inner.observers.try_remove(key);
        let closed = inner.close_if_empty();
        drop(inner);
        // The observer may hold the last reference to its owner, and the drop of that owner must not run under this
        // lock.
        drop(removed);
        closed
    }

    /// Sends one member's frame, in order with the queued jobs.
    pub fn send(&self, outbox: &Arc<Outbox>, frame: Frame) {
        if self.waiting.load(Ordering::Acquire) == 0 {
            outbox.push(frame);
            return;
        }
        let mut inner = self.lock();
        if inner.draining.is_some() {
            self.enqueue(&mut inner, Job::Frame(Arc::clone(outbox), frame));
        } else {
            outbox.push(frame);
        }
    }

    /// Sends one member's copy of a droppable message whose broadcast is handled now. It has its place in the order
    /// already, so it is never queued.
    pub fn send_droppable(&self, (member, outbox): (u64, &Outbox), frame: &Frame, key: DropKey) {
        Tally::new(&self.droppable).add(outbox.push_droppable(frame, key.of_member(member), &self.droppable));
    }

    /// Queues a future. Later jobs wait until it has ended.
    pub(super) fn defer(self: &Arc<Self>, inner: &mut Inner, number: Option<NonZeroU64>, deferred: Deferred) {
        self.enqueue(inner, Job::Deferred(number, deferred));
        if inner.draining.is_none() {
            // The drain has begun, but runs no job yet: the first job has number 1.
            inner.draining = Some(0);
            after_turn::defer(Arc::clone(self).drain());
        }
    }

    /// Pushes `first` into the subscriber's outbox, then what its client has missed, and adds the subscriber. Returns its
    /// key, or `None` if the audience is closed.
    pub(super) fn add(
        self: &Arc<Self>,
        (pubsub, topic): (&PubSub, &Topic),
        subscriber: Subscriber,
        first: Option<&Frame>,
        rejoin: Option<&Rejoin<'_>>,
    ) -> Option<usize> {
        let mut inner = self.lock();
        if inner.closed {
            return None;
        }
        if let Some(first) = first {
            subscriber.outbox.push(first.clone());
        }
        if let Some(rejoin) = rejoin {
            self.rejoin(&mut inner, topic, &subscriber, rejoin, &pubsub.histories);
        }
        pubsub.note_member(topic, &subscriber.member, true);
        let since = inner.queued;
        Some(inner.subscribers.insert(Placed { subscriber, since, shown: Shown::default() }))
    }

    /// Removes a subscriber. Returns whether the audience is empty, and therefore closed now.
    pub(super) fn remove(&self, (pubsub, topic): (&PubSub, &Topic), key: usize) -> bool {
        let mut inner = self.lock();
        let removed = inner.subscribers.try_remove(key);
        if let (Some(placed), Some(views)) = (&removed, &mut inner.views) {
            views.leave(key as u64, placed.shown.view());
        }
        if let Some(placed) = &removed {
            inner.leave_history(placed.subscriber.id);
            pubsub.note_member(topic, &placed.subscriber.member, false);
        }
        let closed = inner.close_if_empty();
        drop(inner);
        drop(removed);
        closed
    }

    pub(super) fn enqueue(&self, inner: &mut Inner, job: Job) {
        if inner.queue.len() >= Self::WAITING_MAX {
            return job.refuse(inner);
        }
        inner.queued += 1;
        let number = inner.queued;
        inner.queue.push_back((number, job));
        HighWater::HandleOut.note(inner.queue.len());
        self.waiting.fetch_add(1, Ordering::Release);
    }

    /// Runs the queued jobs. Unlike turns, it doesn't wait under pressure. The turns that fill this queue have waited
    /// before they began. If the queue waited too, it would only fill up, and a full queue costs members their
    /// connections.
    async fn drain(self: Arc<Self>) {
        for number in 1.. {
            let Some(job) = self.next_job() else { return };
            if number % JOBS_AT_ONCE == 0 {
                yield_now().await;
            }
            // After a panic the later jobs must still run. Otherwise the topic would deliver nothing any more.
            if AssertUnwindSafe(self.work(job)).catch_unwind().await.is_err() {
                tracing::error!("a fault of the host: a job that waited for an intercepted broadcast panicked");
            }
            self.waiting.fetch_sub(1, Ordering::Release);
        }
    }

    async fn work(&self, job: Job) {
        match job {
            Job::Broadcast(broadcast) => self.lock().deliver(&broadcast, &self.droppable),
            Job::StateUpdate(update) => self.lock().update_state(&update),
            Job::Position(position) => self.lock().deliver_position(&position),
            Job::Deferred(_, deferred) => deferred.await,
            Job::Frame(outbox, frame) => outbox.push(frame),
            Job::WholeState(key, outbox, state) => self.lock().send_whole_state(key, &outbox, &state),
            Job::EntriesUpdate(update) => {
                // A later turn catches up, in any case.
                let _ = self.lock().update_entries(&update);
            }
            Job::EntriesState(key, outbox, state) => self.lock().send_entries(key, &outbox, &state, &mut None),
        }
    }

    /// Takes the next job. If there is none, the drain ends.
    fn next_job(&self) -> Option<Job> {
        let mut inner = self.lock();
        let Some((number, job)) = inner.queue.pop_front() else {
            inner.tell_lost();
            inner.draining = None;
            inner.running = None;
            inner.has_dropped = false;
            inner.queue = VecDeque::new();
            return None;
        };
        inner.draining = Some(number);
        inner.running = if let Job::Deferred(number, _) = &job { *number } else { None };
        Some(job)
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) fn close_if_empty(&mut self) -> bool {
        self.closed = self.subscribers.is_empty() && self.observers.is_empty() && self.history.is_none();
        self.closed
    }

    /// The subscribers that the running job is for. If no job runs, all subscribers.
    fn present(&self) -> impl Iterator<Item = &Subscriber> {
        let now = self.draining.unwrap_or(u64::MAX);
        self.subscribers.iter().filter(move |(_, placed)| placed.since < now).map(|(_, placed)| &placed.subscriber)
    }

    /// Encodes a broadcast once for each serializer and pushes it to the subscribers. This is the hot loop of the host.
    pub(super) fn deliver(&mut self, broadcast: &Broadcast, counts: &Arc<DroppableCounts>) {
        if let Some(droppable) = &broadcast.droppable {
            return self.deliver_droppable(broadcast, droppable.key, counts);
        }
        if let Some(number) = broadcast.number {
            return self.deliver_numbered(broadcast, number);
        }
        let (mut encoded, mut delivered) = (Encoded::new(broadcast), 0);
        for subscriber in self.present() {
            if broadcast.except.leaves_out(subscriber.id) {
                continue;
            }
            if let Some(frame) = encoded.frame(subscriber.serializer, subscriber.deflates) {
                subscriber.outbox.push(frame.clone());
                delivered += 1;
            }
        }
        Traffic::Deliveries.add(delivered);
    }

    /// The same for a droppable message.
    fn deliver_droppable(&self, broadcast: &Broadcast, key: DropKey, counts: &Arc<DroppableCounts>) {
        let mut encoded = Encoded::new(broadcast);
        let mut tally = Tally::new(counts);
        for subscriber in self.present().filter(|subscriber| !broadcast.except.leaves_out(subscriber.id)) {
            if let Some(frame) = encoded.frame(subscriber.serializer, subscriber.deflates) {
                tally.add(subscriber.outbox.push_droppable(frame, key.of_member(subscriber.id), counts));
            }
        }
    }

    /// Sends the whole published state to the subscriber with this key, if that subscriber has this outbox. The key may
    /// have been reused for another one.
    fn send_whole_state(&mut self, key: usize, outbox: &Arc<Outbox>, state: &StateUpdate) {
        let placed = self.subscribers.get_mut(key);
        if let Some(placed) = placed.filter(|placed| Arc::ptr_eq(&placed.subscriber.outbox, outbox)) {
            placed.send_update(&mut EncodedUpdate::new(&messages(state)));
        }
    }

    pub(super) fn is_anyone_behind(&self) -> bool {
        self.subscribers.iter().any(|(_, placed)| !placed.shown.is_current())
    }

    fn update_state(&mut self, update: &StateUpdate) {
        let messages = messages(update);
        let mut encoded = EncodedUpdate::new(&messages);
        let now = self.draining.unwrap_or(u64::MAX);
        for (_, placed) in self.subscribers.iter_mut().filter(|(_, placed)| placed.since < now) {
            placed.send_update(&mut encoded);
        }
    }
}
