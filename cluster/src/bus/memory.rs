//! A bus in memory, for nodes of one process.
//!
//! It keeps the order, and tells a node that reads too slowly that it has lost something, as the others do. It is always compiled,
//! for the reason that [`MemoryTable`] gives.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{Bus, BusCounts, BusEnds, BusError, BusEvent, BusFuture, BusReceiver, BusSender, Lane};
use crate::inbox::Inbox;
use crate::node::{Epoch, NodeId};
use crate::table::memory::MemoryTable;

const FLUSH_BYTES: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(1);

/// A bus in memory. A clone is the same bus.
#[derive(Clone, Default)]
pub struct MemoryBus {
    hub: Arc<Mutex<Hub>>,
    /// Who may send, if the bus knows it.
    table: Option<Arc<MemoryTable>>,
}

#[derive(Default)]
struct Hub {
    ends: BTreeMap<Epoch, Arc<Inbox>>,
    cut: BTreeSet<Epoch>,
}

impl MemoryBus {
    /// A bus that takes flushes of everybody, as NATS does.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A bus that takes no flush of a node that is dead in the table, as PostgreSQL does.
    #[must_use]
    pub fn fenced(table: Arc<MemoryTable>) -> Self {
        Self { table: Some(table), ..Self::default() }
    }

    /// A node can't send or hear from now on.
    pub fn cut(&self, node: Epoch) {
        let mut hub = self.lock();
        if hub.cut.insert(node)
            && let Some(inbox) = hub.inbox(node)
        {
            inbox.lost();
        }
    }

    /// A node can send and hear again. What was sent meanwhile is lost for it.
    pub fn mend(&self, node: Epoch) {
        let mut hub = self.lock();
        if hub.cut.remove(&node)
            && let Some(inbox) = hub.inbox(node)
        {
            inbox.found();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, me: NodeId, lane: Lane, flush: &Bytes) -> Result<(), BusError> {
        let mut hub = self.lock();
        if hub.cut.contains(&me.epoch) {
            return Err(BusError::Down("it was cut".to_owned()));
        }
        if self.table.as_ref().is_some_and(|table| !table.may_commit(me)) {
            return Err(BusError::Fenced);
        }
        let is_meant = |node: Epoch| lane == Lane::All || lane == Lane::Node(node);
        let nodes: Vec<Epoch> =
            hub.ends.keys().copied().filter(|&node| is_meant(node) && !hub.cut.contains(&node)).collect();
        for node in nodes {
            if let Some(inbox) = hub.inbox(node) {
                inbox.push(flush.clone());
            }
        }
        Ok(())
    }
}

impl Hub {
    /// What waits for a node that is there. One whose receiver was dropped is forgotten.
    fn inbox(&mut self, node: Epoch) -> Option<&Arc<Inbox>> {
        if self.ends.get(&node).is_some_and(|inbox| Arc::strong_count(inbox) == 1) {
            self.ends.remove(&node);
        }
        self.ends.get(&node)
    }
}

impl Bus for MemoryBus {
    fn open(&self, me: NodeId) -> BusFuture<'_, Result<BusEnds, BusError>> {
        let inbox = Arc::new(Inbox::default());
        self.lock().ends.insert(me.epoch, Arc::clone(&inbox));
        let ends: BusEnds = (Box::new(Sender { bus: self.clone(), me }), Box::new(Receiver { inbox }));
        Box::pin(ready(Ok(ends)))
    }

    /// Nothing is counted: there is no service that could fail.
    fn counts(&self) -> BusCounts {
        BusCounts::default()
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

struct Sender {
    bus: MemoryBus,
    me: NodeId,
}

impl BusSender for Sender {
    fn send(&mut self, lane: Lane, flush: Bytes) -> BusFuture<'_, Result<(), BusError>> {
        Box::pin(ready(self.bus.send(self.me, lane, &flush)))
    }

    fn flush_bytes(&self) -> usize {
        FLUSH_BYTES
    }

    fn pause(&self) -> Duration {
        PAUSE
    }
}

struct Receiver {
    inbox: Arc<Inbox>,
}

impl BusReceiver for Receiver {
    fn next(&mut self) -> BusFuture<'_, BusEvent> {
        Box::pin(self.inbox.next())
    }
}
