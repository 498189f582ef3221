//! The services that all turns of a host share, and their counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::gate::TurnGate;
use super::member_numbers::MemberNumbers;
use crate::clients::Clients;
use crate::contract::Http;
use crate::contract::limits::NodeLimits;
use crate::entries::EntriesNode;
use crate::presence::Presence;
use crate::pubsub::PubSub;
use crate::routes::RouteTable;
use crate::store::Store;

/// The parts of the host that turns use.
pub(in crate::channel) struct Services {
    pub(in crate::channel) routes: Arc<RouteTable>,
    pub(in crate::channel) pubsub: Arc<PubSub>,
    pub(in crate::channel) presence: Arc<Presence>,
    pub(in crate::channel) store: Store,
    pub(in crate::channel) limits: NodeLimits,
    pub(in crate::channel) entries: Arc<EntriesNode>,
    pub(in crate::channel) http: Arc<Http>,
    pub(in crate::channel) clients: Arc<Clients>,
    pub(in crate::channel) gate: Arc<TurnGate>,
    pub(in crate::channel) member_numbers: MemberNumbers,
    // The counts are relaxed: each one is a number of its own, and no other memory is read by its value.
    channels: AtomicUsize,
    faults: AtomicU64,
    ticks: AtomicU64,
    ticks_missed: AtomicU64,
    last_channel_gone: Notify,
}

impl Services {
    pub(in crate::channel) fn new(
        routes: Arc<RouteTable>,
        pubsub: Arc<PubSub>,
        presence: Arc<Presence>,
        store: Store,
        limits: NodeLimits,
        entries: Arc<EntriesNode>,
        http: Arc<Http>,
    ) -> Self {
        Self {
            routes,
            pubsub,
            presence,
            store,
            limits,
            entries,
            http,
            clients: Arc::default(),
            gate: Arc::default(),
            member_numbers: MemberNumbers::alone(),
            channels: AtomicUsize::new(0),
            faults: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            ticks_missed: AtomicU64::new(0),
            last_channel_gone: Notify::new(),
        }
    }

    /// The same with other numbers for members.
    pub(in crate::channel) fn with_member_numbers(self, member_numbers: MemberNumbers) -> Self {
        Self { member_numbers, ..self }
    }

    pub(in crate::channel) fn channel_made(&self) {
        self.channels.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::channel) fn channel_gone(&self) {
        if self.channels.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.last_channel_gone.notify_waiters();
        }
    }

    /// How many channels there are, including those that are joining or ending.
    pub(in crate::channel) fn channel_count(&self) -> usize {
        self.channels.load(Ordering::Relaxed)
    }

    /// Waits until there is no channel.
    pub(in crate::channel) async fn emptied(&self) {
        loop {
            // Before the count is read: `notify_waiters` wakes only those that exist already.
            let gone = self.last_channel_gone.notified();
            if self.channel_count() == 0 {
                return;
            }
            gone.await;
        }
    }

    pub(in crate::channel) fn count_fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::channel) fn fault_count(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Counts ticks that became turns (`due`), and ticks that were left out (`missed`).
    pub(in crate::channel) fn count_ticks(&self, due: u64, missed: u64) {
        self.ticks.fetch_add(due + missed, Ordering::Relaxed);
        self.ticks_missed.fetch_add(missed, Ordering::Relaxed);
    }

    /// How many ticks there were since the start, and how many of them were left out.
    pub(in crate::channel) fn tick_counts(&self) -> (u64, u64) {
        (self.ticks.load(Ordering::Relaxed), self.ticks_missed.load(Ordering::Relaxed))
    }
}
