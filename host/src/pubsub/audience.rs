//! Those who are subscribed to one topic, and the order in which they are told things.
//!
//! Most of the time a broadcast is delivered at once, under the audience's lock, so all subscribers see a topic's
//! broadcasts in one order. While a deferred broadcast waits for a plugin's decision, what comes after it waits in a queue,
//! and with it every other frame for this topic's members ([`Audience::send`]): so a reply never overtakes the broadcast
//! that was made before it.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use slab::Slab;
use tokio::task::yield_now;

use super::broadcast::Encoded;
use super::state_update::EncodedUpdate;
use super::{Broadcast, BroadcastObserver, Deferred, Outbox, PubSub, StateUpdate, Subscriber, after_turn};
use crate::protocol::{CloseCode, Frame, Topic};

/// Jobs after which others on the thread have their turn.
const JOBS_AT_ONCE: u64 = 16;

/// The subscribers of one topic.
#[derive(Default)]
pub struct Audience {
    inner: Mutex<Inner>,
    /// Jobs that wait, readable without the lock.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    subscribers: Slab<Placed>,
    /// Those who hear broadcasts, each with the number by which a sender is left out.
    observers: Slab<(u64, Arc<dyn BroadcastObserver>)>,
    queue: VecDeque<(u64, Job)>,
    /// How many jobs have ever been queued.
    queued: u64,
    /// The number of the job at hand, while a task works through the queue. Whoever subscribed after that job was queued
    /// doesn't get it: it belongs to a time before their join.
    draining: Option<u64>,
    /// Whether a broadcast was dropped since the queue was last empty; said once.
    has_dropped: bool,
    /// Whether the last subscriber has left: the registry is about to forget this audience.
    closed: bool,
}

/// A subscriber, and how many jobs had been queued when it came.
struct Placed {
    subscriber: Subscriber,
    since: u64,
    /// Whether it has all of the topic's published state but the change to come.
    follows: bool,
}

/// What waits its turn.
enum Job {
    Broadcast(Broadcast),
    Step(StateUpdate),
    Deferred(Deferred),
    Frame(Arc<Outbox>, Frame),
    /// All of the published state, for the subscriber at this place if it is still the one with this outbox.
    Whole(usize, Arc<Outbox>, StateUpdate),
}

impl Job {
    /// There is no room for it.
    fn refuse(self, inner: &mut Inner) {
        if let Self::Frame(outbox, _) = self {
            outbox.close(CloseCode::SlowConsumer);
        } else if let Self::Step(_) = self {
            // They get all of the state with the next one.
            inner.subscribers.iter_mut().for_each(|(_, placed)| placed.follows = false);
        } else if let Self::Whole(..) = self {
            // It doesn't follow, and so is caught up with.
        } else if !std::mem::replace(&mut inner.has_dropped, true) {
            tracing::warn!("broadcasts of a topic are dropped: {} wait for its handle_out", Audience::WAITING_MAX);
        }
    }
}

/// A place in an audience.
pub struct Subscription {
    pub(super) topic: Topic,
    pub(super) audience: Arc<Audience>,
    pub(super) key: usize,
}

impl Subscription {
    /// The audience that it is a place in.
    #[must_use]
    pub fn audience(&self) -> &Arc<Audience> {
        &self.audience
    }
}

/// A listener's place in an audience, left when it is dropped.
pub struct TopicSubscriptionHandle {
    pub(super) pubsub: Arc<PubSub>,
    pub(super) topic: Topic,
    pub(super) audience: Arc<Audience>,
    pub(super) key: usize,
}

impl TopicSubscriptionHandle {
    /// What is heard.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl Drop for TopicSubscriptionHandle {
    fn drop(&mut self) {
        if self.audience.remove_observer(self.key) {
            self.pubsub.forget(&self.topic, &self.audience);
        }
    }
}

impl Audience {
    /// The most jobs that may wait. A call asks [`has_room`](Self::has_room) before its commit, so that it fails as a whole;
    /// what comes from elsewhere and finds no room is dropped, and a member whose own frame finds none is closed as if it
    /// read too slowly.
    pub const WAITING_MAX: usize = 1024;

    /// How many are subscribed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().subscribers.len()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the owner of each subscriber stored with it.
    #[must_use]
    pub fn members(&self) -> Vec<Arc<dyn Any + Send + Sync>> {
        self.lock().subscribers.iter().map(|(_, placed)| Arc::clone(&placed.subscriber.member)).collect()
    }

    /// The same, from within a deferred broadcast: without those who came after it was made.
    #[must_use]
    pub fn members_present(&self) -> Vec<Arc<dyn Any + Send + Sync>> {
        self.lock().present().map(|subscriber| Arc::clone(&subscriber.member)).collect()
    }

    /// Whether as many more jobs may wait. Always so while nothing is deferred.
    #[must_use]
    pub fn has_room(&self, jobs: usize) -> bool {
        let waiting = self.waiting.load(Ordering::Acquire);
        waiting == 0 || waiting + jobs <= Self::WAITING_MAX
    }

    /// Tells those who listen of a broadcast, at once: what waits for `handle_out` concerns members only. Then delivers it in
    /// its turn, as it is or by what was deferred. All of it under one lock: so listeners hear what subscribers get, in the
    /// same order.
    pub(super) fn broadcast(self: &Arc<Self>, broadcast: Broadcast, deferred: Option<Deferred>) {
        // Before the guard of the lock, and so dropped after it.
        let mut owners = Vec::new();
        let mut inner = self.lock();
        for (_, (id, observer)) in &inner.observers {
            if !broadcast.except.leaves_out(*id) {
                owners.extend(observer.observe(&broadcast));
            }
        }
        match deferred {
            Some(deferred) => self.defer(&mut inner, deferred),
            None if inner.draining.is_some() => self.wait(&mut inner, Job::Broadcast(broadcast)),
            None => inner.deliver(&broadcast),
        }
    }

    /// Delivers a change of the published state in its turn. Whether somebody may be behind after it.
    pub fn update_state(&self, update: StateUpdate) -> bool {
        let mut inner = self.lock();
        if inner.draining.is_some() {
            self.wait(&mut inner, Job::Step(update));
            return true;
        }
        inner.update_state(&update);
        inner.is_anyone_behind()
    }

    /// Gives all of the published state to those who are behind, if there is room for it now. Whether somebody still is.
    pub fn catch_up(&self, state: &StateUpdate) -> bool {
        let mut inner = self.lock();
        // What waits may be a change that comes after this state.
        if inner.draining.is_some() {
            return true;
        }
        let messages = state.messages();
        let mut encoded = EncodedUpdate::new(&messages);
        let behind = inner.subscribers.iter_mut().filter(|(_, placed)| !placed.follows);
        behind.for_each(|(_, placed)| placed.send_update(&mut encoded));
        inner.is_anyone_behind()
    }

    /// Sends one subscriber all of the published state, and from now on what changes. Whether it may be behind after it.
    pub fn follow(&self, subscription: &Subscription, state: &StateUpdate) -> bool {
        let mut inner = self.lock();
        let is_busy = inner.draining.is_some();
        let Some(placed) = inner.subscribers.get_mut(subscription.key) else { return false };
        if !is_busy {
            placed.send_update(&mut EncodedUpdate::new(&state.messages()));
            return !placed.follows;
        }
        // Behind what waits; of that, it gets what was queued after it came.
        let outbox = Arc::clone(&placed.subscriber.outbox);
        self.wait(&mut inner, Job::Whole(subscription.key, outbox, state.clone()));
        true
    }

    /// Adds a listener. None if the audience is closed.
    pub(super) fn add_observer(&self, id: u64, observer: Arc<dyn BroadcastObserver>) -> Option<usize> {
        let mut inner = self.lock();
        if inner.closed {
            return None;
        }
        Some(inner.observers.insert((id, observer)))
    }

    /// Whether it was the last, and the audience is closed now.
    pub(super) fn remove_observer(&self, key: usize) -> bool {
        let mut inner = self.lock();
        let removed = inner.observers.try_remove(key);
        let closed = inner.close_if_empty();
        drop(inner);
        // It may be the last to hold what it listens for, whose end must not come under the lock.
        drop(removed);
        closed
    }

    /// Sends one member's frame in its turn.
    pub fn send(&self, outbox: &Arc<Outbox>, frame: Frame) {
        if self.waiting.load(Ordering::Acquire) == 0 {
            outbox.push(frame);
            return;
        }
        let mut inner = self.lock();
        if inner.draining.is_some() {
            self.wait(&mut inner, Job::Frame(Arc::clone(outbox), frame));
        } else {
            outbox.push(frame);
        }
    }

    /// Runs a future in its turn; what comes after it waits for its end.
    fn defer(self: &Arc<Self>, inner: &mut Inner, deferred: Deferred) {
        self.wait(inner, Job::Deferred(deferred));
        if inner.draining.is_none() {
            inner.draining = Some(0);
            after_turn::defer(Arc::clone(self).drain());
        }
    }

    /// Adds a subscriber, after it was sent `first`. None if the audience is closed.
    pub(super) fn add(&self, subscriber: Subscriber, first: Option<&Frame>) -> Option<usize> {
        let mut inner = self.lock();
        if inner.closed {
            return None;
        }
        if let Some(first) = first {
            subscriber.outbox.push(first.clone());
        }
        let since = inner.queued;
        Some(inner.subscribers.insert(Placed { subscriber, since, follows: false }))
    }

    /// Whether it was the last, and the audience is closed now.
    pub(super) fn remove(&self, key: usize) -> bool {
        let mut inner = self.lock();
        let removed = inner.subscribers.try_remove(key);
        let closed = inner.close_if_empty();
        drop(inner);
        drop(removed);
        closed
    }

    fn wait(&self, inner: &mut Inner, job: Job) {
        if inner.queue.len() >= Self::WAITING_MAX {
            return job.refuse(inner);
        }
        inner.queued += 1;
        let number = inner.queued;
        inner.queue.push_back((number, job));
        self.waiting.fetch_add(1, Ordering::Release);
    }

    /// Works through the queue. It isn't held back under pressure, unlike those who fill the queue: they are, before their
    /// turns begin, and a queue that waited longer would only fill, which costs members their connections.
    async fn drain(self: Arc<Self>) {
        for number in 1.. {
            let Some(job) = self.next_job() else { return };
            if number % JOBS_AT_ONCE == 0 {
                yield_now().await;
            }
            // A panic must not leave the topic standing still.
            if AssertUnwindSafe(self.work(job)).catch_unwind().await.is_err() {
                tracing::error!("a fault of the host: what waited for an intercepted broadcast panicked");
            }
            self.waiting.fetch_sub(1, Ordering::Release);
        }
    }

    async fn work(&self, job: Job) {
        match job {
            Job::Broadcast(broadcast) => self.lock().deliver(&broadcast),
            Job::Step(update) => self.lock().update_state(&update),
            Job::Deferred(deferred) => deferred.await,
            Job::Frame(outbox, frame) => outbox.push(frame),
            Job::Whole(key, outbox, state) => self.lock().send_whole_state(key, &outbox, &state),
        }
    }

    /// The next job, or none, and then nothing is draining any more.
    fn next_job(&self) -> Option<Job> {
        let mut inner = self.lock();
        let Some((number, job)) = inner.queue.pop_front() else {
            inner.draining = None;
            inner.has_dropped = false;
            inner.queue = VecDeque::new();
            return None;
        };
        inner.draining = Some(number);
        Some(job)
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn close_if_empty(&mut self) -> bool {
        self.closed = self.subscribers.is_empty() && self.observers.is_empty();
        self.closed
    }

    /// The subscribers that the job at hand is for: all of them, if there is none.
    fn present(&self) -> impl Iterator<Item = &Subscriber> {
        let now = self.draining.unwrap_or(u64::MAX);
        self.subscribers.iter().filter(move |(_, placed)| placed.since < now).map(|(_, placed)| &placed.subscriber)
    }

    /// The hot loop of the host.
    fn deliver(&self, broadcast: &Broadcast) {
        let mut encoded = Encoded::new(broadcast);
        for subscriber in self.present() {
            if broadcast.except.leaves_out(subscriber.id) {
                continue;
            }
            if let Some(frame) = encoded.frame(subscriber.serializer) {
                subscriber.outbox.push(frame.clone());
            }
        }
    }

    /// Gives all of the published state to the subscriber at a place, if it is the one with this outbox.
    fn send_whole_state(&mut self, key: usize, outbox: &Arc<Outbox>, state: &StateUpdate) {
        let placed = self.subscribers.get_mut(key);
        if let Some(placed) = placed.filter(|placed| Arc::ptr_eq(&placed.subscriber.outbox, outbox)) {
            placed.send_update(&mut EncodedUpdate::new(&state.messages()));
        }
    }

    fn is_anyone_behind(&self) -> bool {
        self.subscribers.iter().any(|(_, placed)| !placed.follows)
    }

    fn update_state(&mut self, update: &StateUpdate) {
        let messages = update.messages();
        let mut encoded = EncodedUpdate::new(&messages);
        let now = self.draining.unwrap_or(u64::MAX);
        for (_, placed) in self.subscribers.iter_mut().filter(|(_, placed)| placed.since < now) {
            placed.send_update(&mut encoded);
        }
    }
}

impl Placed {
    fn send_update(&mut self, update: &mut EncodedUpdate<'_>) {
        self.follows = update.send(self.follows, self.subscriber.serializer, &self.subscriber.outbox);
    }
}
