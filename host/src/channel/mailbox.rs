//! What waits for channels, counted in entries and bytes.
//!
//! The entries themselves stand in a line; here is only how many more may.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::NodeLimits;

/// What a client has sent and none of its channels has handled yet.
#[derive(Debug, Default)]
pub struct Inbound {
    bytes: AtomicUsize,
    /// Whether its socket holds something back, and wants to know when there is room.
    is_held_back: AtomicBool,
}

/// What waits for one channel. Channels that follow one another on one socket and topic count together, so that a client
/// which joins again and again fills the same bounds.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    from_client: AtomicUsize,
    from_elsewhere: AtomicUsize,
    bytes_from_elsewhere: AtomicUsize,
}

impl Mailbox {
    /// Counts an entry from the client, if there is room for it. Where there is none, [`handled`](Self::handled) says when
    /// to try again. Only the socket's driver calls this, so nothing else counts up in between.
    pub(super) fn admit_from_client(&self, limits: &NodeLimits, inbound: &Inbound, bytes: usize) -> bool {
        let has_room = || {
            let waiting = inbound.bytes.load(Ordering::SeqCst);
            // A single entry is always taken: it was within the limit of a frame.
            let fits = waiting == 0 || waiting.saturating_add(bytes) <= limits.bytes_from_client;
            fits && self.from_client.load(Ordering::SeqCst) < limits.from_client
        };
        if !has_room() {
            inbound.is_held_back.store(true, Ordering::SeqCst);
            // There may be room since, and nobody left to say so.
            if !has_room() {
                return false;
            }
        }
        self.from_client.fetch_add(1, Ordering::SeqCst);
        inbound.bytes.fetch_add(bytes, Ordering::SeqCst);
        true
    }

    /// An entry from the client has left the line. Whether its socket waits for that.
    pub(super) fn handled(&self, inbound: &Inbound, bytes: usize) -> bool {
        self.from_client.fetch_sub(1, Ordering::SeqCst);
        inbound.bytes.fetch_sub(bytes, Ordering::SeqCst);
        inbound.is_held_back.load(Ordering::SeqCst) && inbound.is_held_back.swap(false, Ordering::SeqCst)
    }

    /// Counts an entry from elsewhere, if there is room for it.
    pub(super) fn admit_from_elsewhere(&self, limits: &NodeLimits, bytes: usize) -> bool {
        if !self.has_room(limits, 1, bytes) {
            return false;
        }
        self.from_elsewhere.fetch_add(1, Ordering::SeqCst);
        self.bytes_from_elsewhere.fetch_add(bytes, Ordering::SeqCst);
        true
    }

    /// An entry from elsewhere has left the line.
    pub(super) fn handled_from_elsewhere(&self, bytes: usize) {
        self.from_elsewhere.fetch_sub(1, Ordering::SeqCst);
        self.bytes_from_elsewhere.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// Whether so much more from elsewhere may wait.
    pub(super) fn has_room(&self, limits: &NodeLimits, events: usize, bytes: usize) -> bool {
        let waiting = self.bytes_from_elsewhere.load(Ordering::SeqCst);
        let fits = waiting.saturating_add(bytes) <= limits.bytes_from_elsewhere;
        fits && self.from_elsewhere.load(Ordering::SeqCst) + events <= limits.from_elsewhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: NodeLimits =
        NodeLimits { from_client: 2, bytes_from_client: 10, from_elsewhere: 2, bytes_from_elsewhere: 10 };

    #[test]
    fn a_client_is_held_back_by_entries_or_bytes_and_told_once_when_there_is_room() {
        let (mailbox, inbound) = (Mailbox::default(), Inbound::default());
        assert!(mailbox.admit_from_client(&LIMITS, &inbound, 100), "a single entry is always taken");
        assert!(!mailbox.admit_from_client(&LIMITS, &inbound, 1));
        assert!(mailbox.handled(&inbound, 100));
        for _ in 0..2 {
            assert!(mailbox.admit_from_client(&LIMITS, &inbound, 1));
        }
        assert!(!mailbox.admit_from_client(&LIMITS, &inbound, 1));
        assert!(mailbox.handled(&inbound, 1));
        assert!(!mailbox.handled(&inbound, 1));
    }

    #[test]
    fn what_comes_from_elsewhere_is_bounded_both_ways() {
        let mailbox = Mailbox::default();
        assert!(mailbox.admit_from_elsewhere(&LIMITS, 9));
        assert!(!mailbox.admit_from_elsewhere(&LIMITS, 2));
        assert!(mailbox.admit_from_elsewhere(&LIMITS, 1));
        assert!(!mailbox.admit_from_elsewhere(&LIMITS, 0));
        mailbox.handled_from_elsewhere(9);
        assert!(mailbox.has_room(&LIMITS, 1, 9));
    }
}
