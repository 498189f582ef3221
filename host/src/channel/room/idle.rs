//! Idle rooms and seats: how many of them the host keeps for members that may return.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::counts::Limit;

/// The most rooms without members and seats without a member that a host keeps at once.
const KEPT_MAX: usize = 16_384;

/// The most bytes of those rooms.
const BYTES_MAX: usize = 256 << 20;

/// The counts of the kept rooms and seats, and of their bytes.
#[derive(Default)]
pub(in crate::channel::room) struct IdleRooms {
    kept: AtomicUsize,
    bytes: AtomicUsize,
}

/// A permit to keep a room or a seat. It counts until it is dropped.
pub(in crate::channel::room) struct IdlePermit {
    rooms: Arc<IdleRooms>,
    bytes: usize,
}

impl IdleRooms {
    /// A permit for a room of this size, or for a seat (0 bytes). None if a limit is reached.
    pub(in crate::channel::room) fn keep(self: &Arc<Self>, bytes: usize) -> Option<IdlePermit> {
        let permit = IdlePermit { rooms: Arc::clone(self), bytes };
        // Relaxed: no other memory is read by these counts. Each caller first adds and then compares, so two callers can't
        // both get the last permit.
        let kept = self.kept.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let has_room = kept <= KEPT_MAX && total <= BYTES_MAX;
        if !has_room {
            Limit::IdleRooms.hit();
        }
        has_room.then_some(permit)
    }

    /// The same without a limit, for rooms and seats of another host, whose members come back in a moment. What that host
    /// had was within its limits.
    pub(in crate::channel::room) fn keep_anyway(self: &Arc<Self>, bytes: usize) -> IdlePermit {
        self.kept.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        IdlePermit { rooms: Arc::clone(self), bytes }
    }
}

impl Drop for IdlePermit {
    fn drop(&mut self) {
        self.rooms.kept.fetch_sub(1, Ordering::Relaxed);
        self.rooms.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_rooms_are_bounded_and_a_dropped_permit_frees_its_share() {
        let idle = Arc::<IdleRooms>::default();
        let hits = Limit::IdleRooms.hits();
        let mut places: Vec<_> = (0..KEPT_MAX).map_while(|_| idle.keep(1)).collect();
        assert_eq!((places.len(), idle.keep(0).is_none()), (KEPT_MAX, true));
        assert!(Limit::IdleRooms.hits() > hits);
        places.pop();
        assert!(idle.keep(BYTES_MAX).is_none());
        assert!(idle.keep(1).is_some());
        drop(places);
        assert!(idle.keep(BYTES_MAX).is_some());
    }
}
