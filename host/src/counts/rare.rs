//! Counts of what happens rarely.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! rare {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What is counted. Each is one atomic for the process.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rare {
            $($(#[$doc])* $name,)*
        }

        static COUNTS: [AtomicU64; [$(Rare::$name),*].len()] =
            [const { AtomicU64::new(0) }; [$(Rare::$name),*].len()];
    };
}

rare! {
    /// Sockets that were opened.
    SocketsOpened,
    /// Changes of published states that a slow client didn't get one by one.
    StateUpdatesSkipped,
    /// Presence diffs that were merged into another one.
    PresenceDiffsMerged,
    /// Broadcasts that were dropped because too many jobs waited for `handle_out`.
    BroadcastsDropped,
    /// Nanoseconds in which an outbox was more than a quarter full, so that producers of frames waited.
    PressureNanoseconds,
}

impl Rare {
    /// Adds to the count.
    pub fn add(self, more: u64) {
        // Relaxed, because no other memory is read by its value.
        COUNTS[self as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// Returns the count since the start.
    #[must_use]
    pub fn count(self) -> u64 {
        COUNTS[self as usize].load(Ordering::Relaxed)
    }
}
