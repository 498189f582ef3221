//! All sockets of the host, so that it can count and close them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::Notify;

use super::Tally;
use crate::counts::Rare;
use crate::protocol::CloseCode;
use crate::pubsub::Outbox;

/// The open sockets.
#[derive(Default)]
pub struct Sockets {
    open: DashMap<u64, Arc<Outbox>>,
    /// The number of the next socket. Relaxed, because it only has to be unique.
    next: AtomicU64,
    /// Set once the host closes all sockets. A socket that connects later is closed at once.
    closing: OnceLock<CloseCode>,
    last_gone: Notify,
    /// The counts of refused and closed clients, by reason.
    pub tally: Arc<Tally>,
}

/// A socket's entry in the registry, removed when it is dropped.
pub struct Registered {
    sockets: Arc<Sockets>,
    id: u64,
}

/// A host that stops closes its sockets in batches, so that the clients don't reconnect all at once.
const BATCH: usize = 1000;
const BATCH_SPACING: Duration = Duration::from_millis(100);

impl Sockets {
    /// Creates a registry that counts refused and closed clients together with another one.
    #[must_use]
    pub fn with_tally(tally: &Arc<Tally>) -> Self {
        Self { tally: Arc::clone(tally), ..Self::default() }
    }

    /// Returns the number of open sockets.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Returns how long it takes to close all open sockets in batches, without the time that clients take to answer.
    #[must_use]
    pub fn closing_time(&self) -> Duration {
        let pauses = u32::try_from(self.count() / BATCH).unwrap_or(u32::MAX);
        BATCH_SPACING.saturating_mul(pauses)
    }

    /// Registers a socket.
    pub(super) fn register(self: &Arc<Self>, outbox: &Arc<Outbox>) -> Registered {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        Rare::SocketsOpened.add(1);
        self.open.insert(id, Arc::clone(outbox));
        // Checked after the insertion. If `close_all` sets `closing` later than this check, its list contains this
        // socket.
        if let Some(code) = self.closing.get() {
            outbox.close(*code);
        }
        Registered { sockets: Arc::clone(self), id }
    }

    /// Closes all open sockets with this code, 1,000 every 100 ms, and waits until they have ended.
    pub async fn close_all(&self, code: CloseCode) {
        self.closing.get_or_init(|| code);
        let outboxes: Vec<_> = self.open.iter().map(|entry| Arc::clone(entry.value())).collect();
        for (at, batch) in outboxes.chunks(BATCH).enumerate() {
            if at > 0 {
                tokio::time::sleep(BATCH_SPACING).await;
            }
            batch.iter().for_each(|outbox| outbox.close(code));
        }
        loop {
            // Created before the check, so that it sees a notification that comes in between.
            let gone = self.last_gone.notified();
            if self.open.is_empty() {
                return;
            }
            gone.await;
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sockets.open.remove(&self.id);
        if self.sockets.open.is_empty() {
            self.sockets.last_gone.notify_waiters();
        }
    }
}
