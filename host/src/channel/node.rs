//! What every channel of a host shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Notify, oneshot};

use super::idle::IdleRooms;
use super::in_flight::InFlightByPlugin;
use super::intercept::Intercepts;
use super::turn_queue::Job;
use super::turn_queues::TurnQueues;
use super::{Channel, MemberEvent};
use crate::contract::{Person, system_now_ms};
use crate::presence::{Pace, Presence};
use crate::protocol::Topic;
use crate::pubsub::PubSub;
use crate::routes::RouteTable;
use crate::store::Store;

/// The limits of channels that aren't those of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Entries of a channel that wait and came from its client. Past it that socket isn't read until one is handled.
    pub from_client: usize,
    /// Bytes of the entries that wait for all channels of a socket and came from its client. Past it likewise.
    pub bytes_from_client: usize,
    /// Entries of a channel that wait and came from elsewhere. Past it: fault, overflow.
    pub from_elsewhere: usize,
    /// Bytes of those entries, and of the member's timers. Past it likewise.
    pub bytes_from_elsewhere: usize,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self { from_client: 64, bytes_from_client: 4 << 20, from_elsewhere: 1024, bytes_from_elsewhere: 4 << 20 }
    }
}

/// What this node is called in the lists of who is online. There are no others yet.
const NAME: &str = "local";

/// The shared handle: routes, subscribers, and a few counts.
pub struct Node {
    /// Which behaviour serves a topic.
    pub routes: Arc<RouteTable>,
    /// Who is subscribed to what.
    pub pubsub: Arc<PubSub>,
    /// Who is online.
    pub presence: Presence,
    /// What outlives the host.
    pub store: Store,
    /// How much may wait.
    pub limits: NodeLimits,
    pub(super) queues: Arc<TurnQueues>,
    pub(super) idle: Arc<IdleRooms>,
    pub(super) in_flight: InFlightByPlugin,
    next_member: AtomicU64,
    channels: AtomicUsize,
    faults: AtomicU64,
    ticks: AtomicU64,
    ticks_missed: AtomicU64,
    last_channel_gone: Notify,
}

impl Node {
    /// A node without members.
    #[must_use]
    pub fn new(routes: Arc<RouteTable>, limits: NodeLimits, pace: Pace, store: Store) -> Arc<Self> {
        let pubsub = Arc::new(PubSub::new());
        pubsub.set_interceptor(Arc::new(Intercepts::new(Arc::clone(&routes))));
        let presence = Presence::new(&pubsub, NAME, system_now_ms(), pace);
        Arc::new(Self {
            routes,
            pubsub,
            presence,
            store,
            limits,
            queues: Arc::default(),
            idle: Arc::default(),
            in_flight: InFlightByPlugin::default(),
            next_member: AtomicU64::new(1),
            channels: AtomicUsize::new(0),
            faults: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            ticks_missed: AtomicU64::new(0),
            last_channel_gone: Notify::new(),
        })
    }

    /// How many channels there are, those that are joining or ending included.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.load(Ordering::Relaxed)
    }

    /// How many callbacks have failed since the start.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// How many beats of topics have been due since the start, and how many of them were left out, since the topic or the host
    /// was busy.
    #[must_use]
    pub fn tick_counts(&self) -> (u64, u64) {
        (self.ticks.load(Ordering::Relaxed), self.ticks_missed.load(Ordering::Relaxed))
    }

    /// The members of a topic, so many at most.
    #[must_use]
    pub fn people(&self, topic: &str, most: usize) -> Vec<Person> {
        self.channels_of(topic).take(most).map(|channel| channel.person()).collect()
    }

    /// Whether anybody is in a topic.
    pub(super) fn has_members(&self, topic: &Topic) -> bool {
        self.pubsub.audience(topic.as_str()).is_some_and(|audience| !audience.is_empty())
    }

    /// The channels of those who are subscribed to a topic.
    pub(super) fn channels_of(&self, topic: &str) -> impl Iterator<Item = Arc<Channel>> + use<> {
        let members = self.pubsub.audience(topic).map(|audience| audience.members());
        members.into_iter().flatten().filter_map(|member| member.downcast::<Channel>().ok())
    }

    /// Waits until there is no channel any more. With a host that is stopping: until the last `terminate` has run.
    pub async fn emptied(&self) {
        loop {
            let gone = self.last_channel_gone.notified();
            if self.channel_count() == 0 {
                return;
            }
            gone.await;
        }
    }

    /// Ends the members whose plugin serves their topic no more. Where a probation has ended, returns states to what they were
    /// before the build that was taken back, so that clients see it at once, or lets go of what was kept for that.
    pub async fn sweep(self: &Arc<Self>) {
        for (topic, queue) in self.queues.all() {
            if queue.is_room_to_settle() {
                queue.post_and_spawn(Job::Review(Arc::clone(self), topic));
            }
        }
        for (topic, _) in self.pubsub.topics() {
            for channel in self.channels_of(topic.as_str()) {
                if !channel.is_routed() {
                    channel.post_ending(MemberEvent::Unrouted);
                } else if channel.must_roll_back() {
                    channel.post_ending(MemberEvent::RolledBack);
                }
            }
            // There may be many, and none of them is in a hurry.
            tokio::task::yield_now().await;
        }
    }

    /// Ends all beats, and stores what hasn't been stored yet of the durable rooms that had one. Each in a turn of its topic,
    /// since what another turn stores is later.
    pub async fn store_rooms(self: &Arc<Self>) {
        let mut under_way = Vec::new();
        for (topic, queue) in self.queues.all() {
            let (kept, keeping) = oneshot::channel();
            queue.post_and_spawn(Job::Persist(Arc::clone(self), topic, kept));
            under_way.push(keeping);
        }
        for keeping in under_way {
            // One that panicked is logged there.
            let _ = keeping.await;
        }
    }

    pub(super) fn next_member(&self) -> u64 {
        self.next_member.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn channel_made(&self) {
        self.channels.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn channel_gone(&self) {
        if self.channels.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.last_channel_gone.notify_waiters();
        }
    }

    /// So many beats were due, and so many of them are left out.
    pub(super) fn count_ticks(&self, due: u64, missed: u64) {
        self.ticks.fetch_add(due + missed, Ordering::Relaxed);
        self.ticks_missed.fetch_add(missed, Ordering::Relaxed);
    }

    pub(super) fn count_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }
}
