//! The deliveries of all plugins in memory, in the order in which they are sent: an index of the rows.
//!
//! The committer keeps it, as it keeps the [`JobBoard`](super::JobBoard): it reads all rows when the store is opened, and notes each
//! batch before anything else is committed. The courier of `deliveries` takes those that are due.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bennu_semantics::deliveries::{DeliveryId, DeliveryQueue, DeliveryRow};
use bytes::Bytes;
use tokio::sync::Notify;

use super::delivery_rows::{delivery_id, row_bytes};
use super::engine::{Direction, EngineError, ScanLimit, Snapshot, Writes};
use super::space;

/// The most that is read at once.
const READ: ScanLimit = ScanLimit { rows: 1000, bytes: 1 << 20 };

/// The deliveries of all plugins.
#[derive(Debug, Default)]
pub struct DeliveryBoard {
    queue: Mutex<DeliveryQueue>,
    changed: Notify,
}

impl DeliveryBoard {
    /// Runs a function with the queue. It must not block: the committer waits for the lock.
    pub fn with<T>(&self, act: impl FnOnce(&mut DeliveryQueue) -> T) -> T {
        act(&mut self.queue())
    }

    /// Waits until a batch has changed deliveries. A change that happens while nobody waits isn't lost.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Reads all deliveries of a snapshot, in place of those that it knew. Those that are being sent stay so. It keeps only what
    /// the queue needs, so a page of large rows is in memory at a time.
    pub(super) async fn load(&self, snapshot: &dyn Snapshot) -> Result<(), EngineError> {
        let (mut unread, mut stored) = (Some(space::all_deliveries()), BTreeSet::new());
        while let Some(span) = unread.take() {
            let read = snapshot.scan(&span, Direction::Forward, READ).await?;
            if let Some((last, _)) = read.rows.last().filter(|_| !read.ended) {
                unread = Some(span.split_after(last, Direction::Forward).1);
            }
            let mut queue = self.queue();
            for (place, row) in read.rows {
                stored.extend(put(&mut queue, &place, &row));
            }
        }
        let mut queue = self.queue();
        let known: Vec<Arc<DeliveryId>> = queue.list_after(None).map(|(id, _)| Arc::clone(id)).collect();
        known.iter().filter(|id| !stored.contains(&***id)).for_each(|id| queue.remove(id));
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    /// Notes a batch that was written. A batch without deliveries costs a search.
    pub(super) fn note(&self, writes: &Writes) {
        if !space::has_deliveries(writes) {
            return;
        }
        let span = space::all_deliveries();
        let mut queue = self.queue();
        for (place, row) in writes.range(span.from..span.until) {
            let is_there = row.as_ref().is_some_and(|row| put(&mut queue, place, row).is_some());
            if let Some(id) = delivery_id(place).filter(|_| !is_there) {
                queue.remove(&id);
            }
        }
        drop(queue);
        self.changed.notify_one();
    }

    // No change of the queue can panic half-way, so a poisoned lock is used like any other.
    pub(super) fn queue(&self) -> MutexGuard<'_, DeliveryQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a stored row into the queue, unless it is damaged.
fn put(queue: &mut DeliveryQueue, place: &Bytes, row: &Bytes) -> Option<DeliveryId> {
    let (id, bytes) = (delivery_id(place)?, row_bytes(place, row));
    queue.put(id.clone(), &DeliveryRow::decode(row.clone())?, bytes);
    Some(id)
}
