//! A table of nodes in memory, for nodes of one process.
//!
//! It has the guarantees of the others, so tests of the link and of hosts run on it, and it shows what is asked of the others. It is always
//! compiled: it needs nothing, and with a feature for it cargo would compile the crate twice.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Hello, NewNode, NodeRow, NodeTable, Renewal, TableError, TableFuture};
use crate::node::{Epoch, NodeId};

/// How many dead rows are kept.
const DEAD_MAX: usize = 64;

/// A table of nodes in memory.
#[derive(Debug, Default)]
pub struct MemoryTable {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<Epoch, NodeRow>,
    last: u64,
    is_down: bool,
}

impl MemoryTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on each call fails, or works again.
    pub fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    /// Whether a commit of a node would be taken now: the fence.
    #[must_use]
    pub fn may_commit(&self, id: NodeId) -> bool {
        self.lock().living(id).is_some()
    }

    /// Loses a row, as a database does that fails over to a copy that is behind.
    pub fn lose(&self, epoch: Epoch) {
        self.lock().rows.remove(&epoch);
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T: Send + 'static>(&self, call: impl FnOnce(&mut Rows) -> T) -> TableFuture<'_, T> {
        let mut rows = self.lock();
        let answer =
            if rows.is_down { Err(TableError::Down("it was set down".to_owned())) } else { Ok(call(&mut rows)) };
        Box::pin(ready(answer))
    }
}

impl Rows {
    fn living(&mut self, id: NodeId) -> Option<&mut NodeRow> {
        self.rows.get_mut(&id.epoch).filter(|row| row.id == id && !row.is_dead)
    }

    fn hello(&mut self, node: &NewNode) -> Hello {
        let NewNode { name, version, incarnation, speaks, settings } = node;
        let mut living = self.rows.values().filter(|row| !row.is_dead);
        if let Some(row) = living.clone().find(|row| row.name == *name) {
            // The answer to the same start was lost.
            let is_same = row.id.incarnation == *incarnation;
            return if is_same { Hello::Welcome(row.id.epoch) } else { Hello::NameTaken(row.clone()) };
        }
        if let Some(row) = living.clone().find(|row| row.speaks.from > speaks.to || row.speaks.to < speaks.from) {
            return Hello::NoCommonVersion(row.clone());
        }
        if let Some(row) = living.find(|row| row.settings != *settings) {
            return Hello::OtherSettings(row.clone());
        }
        self.last += 1;
        let epoch = Epoch(self.last);
        let row = NodeRow {
            id: NodeId { epoch, incarnation: *incarnation },
            name: name.clone(),
            version: version.clone(),
            speaks: *speaks,
            settings: settings.clone(),
            beat: 1,
            is_dead: false,
            is_draining: false,
        };
        self.rows.insert(epoch, row);
        Hello::Welcome(epoch)
    }

    fn set_dead(&mut self, epoch: Epoch) {
        if let Some(row) = self.rows.get_mut(&epoch) {
            row.is_dead = true;
        }
        let dead: Vec<Epoch> = self.rows.values().filter(|row| row.is_dead).map(|row| row.id.epoch).collect();
        for epoch in dead.iter().take(dead.len().saturating_sub(DEAD_MAX)) {
            self.rows.remove(epoch);
        }
    }
}

impl NodeTable for MemoryTable {
    fn hello<'a>(&'a self, node: &'a NewNode) -> TableFuture<'a, Hello> {
        self.call(|rows| rows.hello(node))
    }

    fn renew(&self, id: NodeId) -> TableFuture<'_, Renewal> {
        self.call(|rows| match rows.living(id) {
            Some(row) => {
                row.beat += 1;
                Renewal::Good(row.beat)
            }
            None => Renewal::Fenced,
        })
    }

    fn list(&self) -> TableFuture<'_, Vec<NodeRow>> {
        self.call(|rows| rows.rows.values().cloned().collect())
    }

    fn declare_dead(&self, epoch: Epoch, beat: u64) -> TableFuture<'_, bool> {
        self.call(|rows| {
            if rows.rows.get(&epoch).is_some_and(|row| !row.is_dead && row.beat == beat) {
                rows.set_dead(epoch);
            }
            rows.rows.get(&epoch).is_none_or(|row| row.is_dead)
        })
    }

    fn drain(&self, id: NodeId) -> TableFuture<'_, ()> {
        self.call(|rows| {
            if let Some(row) = rows.living(id) {
                row.is_draining = true;
            }
        })
    }

    fn leave(&self, id: NodeId) -> TableFuture<'_, ()> {
        self.call(|rows| {
            if rows.living(id).is_some() {
                rows.set_dead(id.epoch);
            }
        })
    }

    fn time_ms(&self) -> TableFuture<'_, u64> {
        self.call(|_| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    fn transaction_id(&self) -> TableFuture<'_, Option<u64>> {
        self.call(|_| None)
    }

    fn rows_unreadable(&self) -> u64 {
        0
    }
}
