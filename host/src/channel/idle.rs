//! Rooms that nobody is in, and seats that nobody sits on: how many are kept for those who may come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most rooms and seats of a host that are kept at once while nobody is there.
const KEPT_MAX: usize = 16_384;

/// The most bytes of those rooms.
const BYTES_MAX: usize = 256 << 20;

/// What is kept.
#[derive(Default)]
pub(super) struct IdleRooms {
    kept: AtomicUsize,
    bytes: AtomicUsize,
}

/// A place among what is kept, left when it is dropped.
pub(super) struct IdlePermit {
    rooms: Arc<IdleRooms>,
    bytes: usize,
}

impl IdleRooms {
    /// A place for a room of so many bytes, or for a seat; none where there is no room for it any more.
    pub(super) fn keep(self: &Arc<Self>, bytes: usize) -> Option<IdlePermit> {
        let place = IdlePermit { rooms: Arc::clone(self), bytes };
        let kept = self.kept.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        (kept <= KEPT_MAX && total <= BYTES_MAX).then_some(place)
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
    fn only_so_much_is_kept_and_what_is_let_go_makes_room() {
        let idle = Arc::<IdleRooms>::default();
        let mut places: Vec<_> = (0..KEPT_MAX).map_while(|_| idle.keep(1)).collect();
        assert_eq!((places.len(), idle.keep(0).is_none()), (KEPT_MAX, true));
        places.pop();
        assert!(idle.keep(BYTES_MAX).is_none());
        assert!(idle.keep(1).is_some());
        drop(places);
        assert!(idle.keep(BYTES_MAX).is_some());
    }
}
