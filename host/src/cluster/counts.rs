//! Counts of what a host tells the others, and hears from them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counts of a host. They are independent of each other, so all their accesses are relaxed.
        #[derive(Debug, Default)]
        pub(super) struct PeerCounters {
            $(pub(super) $name: Counter,)*
        }

        /// Counts since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PeerCounts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl PeerCounters {
            pub(super) fn read(&self) -> PeerCounts {
                PeerCounts { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }

        impl PeerCounts {
            /// The counts with their names.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counts! {
    /// Broadcasts that were sent to the other nodes.
    broadcasts_sent,
    /// Broadcasts of other nodes that were delivered here.
    broadcasts_heard,
    /// Messages that weren't sent, because too many bytes waited or the message was too large.
    messages_dropped,
    /// Messages that can't be read: of another version, of an unknown kind, or malformed.
    messages_unread,
    /// Presences that a node sent in the name of another one. They were ignored.
    presences_foreign,
    /// Questions that were asked of the other nodes.
    questions_asked,
    /// Questions that weren't asked or answered, because too many waited.
    questions_refused,
    /// Answers that were missing when the time was over.
    answers_missing,
    /// How often messages of a node were lost.
    losses,
    /// How often the records of the cluster's plugins couldn't be read or written.
    registry_failures,
    /// Records and reports of the cluster's plugins that this node can't read. One counts at each read.
    rows_unreadable,
    /// Members whose clients were told to join again after a loss.
    members_rejoined,
    /// Topics of other nodes that weren't counted, because a node has too many.
    topics_uncounted,
    /// Sticky topics of which this node and another one had members for some seconds. A topic counts each time that this begins.
    topics_split,
}

/// A count.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }
}
