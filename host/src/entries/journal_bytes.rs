//! The memory of the journals of rollback points.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::node::EntriesNode;

/// The bytes of a journal, in the sum of the host. They are released when it is dropped.
pub(super) struct JournalBytes {
    node: Arc<EntriesNode>,
    bytes: u64,
}

/// The journals of all topics have at most this many times the bytes of one.
const TOPICS: u64 = 8;

impl JournalBytes {
    pub(super) fn none(node: &Arc<EntriesNode>) -> Self {
        Self { node: Arc::clone(node), bytes: 0 }
    }

    /// Reserves more, if it has fewer bytes than these. Returns whether the limits allow it. If not, nothing changes.
    pub(super) fn grow_to(&mut self, bytes: u64) -> bool {
        let (more, most) = (bytes.saturating_sub(self.bytes), self.most());
        if more == 0 {
            return true;
        }
        // Each caller first adds and then compares, so two callers can't both get the last bytes. Relaxed: no other memory is
        // read by its value.
        let total = self.node.journals().fetch_add(more, Ordering::Relaxed).saturating_add(more);
        let has_room = bytes <= most && total <= most.saturating_mul(TOPICS);
        if has_room {
            self.bytes += more;
        } else {
            self.node.journals().fetch_sub(more, Ordering::Relaxed);
        }
        has_room
    }

    /// Counts a journal that was read from the store. The limits were checked when it was written.
    pub(super) fn count(&mut self, bytes: u64) {
        self.node.journals().fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    pub(super) fn most(&self) -> u64 {
        self.node.rules().limits.rollback_bytes
    }
}

impl Drop for JournalBytes {
    fn drop(&mut self) {
        self.node.journals().fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
