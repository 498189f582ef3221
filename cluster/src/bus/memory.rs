//! A bus in memory, for nodes of one process.
//!
//! It keeps the order and loses what a full queue can't take, as the others do. It is always compiled, for the reason that
//! [`MemoryTable`](crate::table::memory::MemoryTable) gives.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Bus, BusEnds, BusError, BusEvent, BusFuture, BusReceiver, BusSender, Lane};
use crate::node::{Epoch, NodeId};
use crate::table::memory::MemoryTable;

/// How many flushes wait for a node that doesn't read. Later ones are lost for it.
const QUEUE: usize = 4_096;

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
    ends: BTreeMap<Epoch, mpsc::Sender<BusEvent>>,
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
        if hub.cut.insert(node) {
            hub.give(node, BusEvent::Down);
        }
    }

    /// A node can send and hear again. What was sent meanwhile is lost for it.
    pub fn mend(&self, node: Epoch) {
        let mut hub = self.lock();
        if hub.cut.remove(&node) {
            hub.give(node, BusEvent::Up);
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
            hub.give(node, BusEvent::Flush(flush.clone()));
        }
        Ok(())
    }
}

impl Hub {
    fn give(&mut self, node: Epoch, event: BusEvent) {
        let is_closed = self
            .ends
            .get(&node)
            .is_some_and(|end| matches!(end.try_send(event), Err(mpsc::error::TrySendError::Closed(_))));
        if is_closed {
            self.ends.remove(&node);
        }
    }
}

impl Bus for MemoryBus {
    fn open(&self, me: NodeId) -> BusFuture<'_, Result<BusEnds, BusError>> {
        let (end, events) = mpsc::channel(QUEUE);
        self.lock().ends.insert(me.epoch, end);
        let ends: BusEnds = (Box::new(Sender { bus: self.clone(), me }), Box::new(Receiver { events }));
        Box::pin(ready(Ok(ends)))
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
    events: mpsc::Receiver<BusEvent>,
}

impl BusReceiver for Receiver {
    fn next(&mut self) -> BusFuture<'_, BusEvent> {
        Box::pin(async {
            match self.events.recv().await {
                Some(event) => event,
                // Another start has taken this epoch's place, which a table never gives. Nothing more comes.
                None => std::future::pending().await,
            }
        })
    }
}
