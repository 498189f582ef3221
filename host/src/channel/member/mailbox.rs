//! The limits of the events that wait for channels: their number and their bytes.
//!
//! The events themselves are in a turn queue. Only their counts are here.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::contract::limits::NodeLimits;
use crate::counts::{HighWater, Limit};

/// The events of a client that none of its channels has handled yet.
#[derive(Debug, Default)]
pub struct Inbound {
    bytes: AtomicUsize,
    /// Whether its socket has an event that it couldn't post, and must be woken when there is room.
    is_waiting: AtomicBool,
}

/// The events that wait for one channel. Channels that replace one another on one socket and topic count together, so
/// that a client that joins again and again meets the same limits.
#[derive(Debug, Default)]
pub(in crate::channel::member) struct Mailbox {
    from_client: AtomicUsize,
    from_elsewhere: AtomicUsize,
    bytes_from_elsewhere: AtomicUsize,
}

impl Mailbox {
    /// Counts an event from the client, if the limits allow it. If they don't, [`handled`](Self::handled) says when to try
    /// again. Only the socket's driver calls this, so no other call can add an event between the check and the addition.
    pub(in crate::channel::member) fn admit_from_client(
        &self,
        limits: &NodeLimits,
        inbound: &Inbound,
        bytes: usize,
    ) -> bool {
        let has_room = || {
            let waiting = inbound.bytes.load(Ordering::SeqCst);
            // A single event is always taken: it was within the limit of a frame.
            let fits = waiting == 0 || waiting.saturating_add(bytes) <= limits.bytes_from_client;
            fits && self.from_client.load(Ordering::SeqCst) < limits.from_client
        };
        if !has_room() {
            inbound.is_waiting.store(true, Ordering::SeqCst);
            // An event may have been handled before the flag was set, and then `handled` didn't see the flag. So the
            // limits are checked again. All of these accesses are sequentially consistent, so that this check and
            // `handled` can't both miss the other's store.
            if !has_room() {
                let is_many = self.from_client.load(Ordering::SeqCst) >= limits.from_client;
                if is_many { Limit::MailboxFromClient } else { Limit::MailboxBytesFromClient }.hit();
                return false;
            }
        }
        let before = self.from_client.fetch_add(1, Ordering::SeqCst);
        HighWater::MailboxFromClient.note(before + 1);
        inbound.bytes.fetch_add(bytes, Ordering::SeqCst);
        true
    }

    /// An event from the client has left the queue. Returns whether its socket waits for room.
    pub(in crate::channel::member) fn handled(&self, inbound: &Inbound, bytes: usize) -> bool {
        self.from_client.fetch_sub(1, Ordering::SeqCst);
        inbound.bytes.fetch_sub(bytes, Ordering::SeqCst);
        inbound.is_waiting.load(Ordering::SeqCst) && inbound.is_waiting.swap(false, Ordering::SeqCst)
    }

    /// Counts an event from elsewhere, if there is room for it.
    pub(in crate::channel::member) fn admit_from_elsewhere(&self, limits: &NodeLimits, bytes: usize) -> bool {
        if !self.has_room(limits, 1, bytes) {
            return false;
        }
        let before = self.from_elsewhere.fetch_add(1, Ordering::SeqCst);
        HighWater::MailboxFromElsewhere.note(before + 1);
        self.bytes_from_elsewhere.fetch_add(bytes, Ordering::SeqCst);
        true
    }

    /// An event from elsewhere has left the queue.
    pub(in crate::channel::member) fn handled_from_elsewhere(&self, bytes: usize) {
        self.from_elsewhere.fetch_sub(1, Ordering::SeqCst);
        self.bytes_from_elsewhere.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// Whether more events from elsewhere may wait, with these bytes.
    pub(in crate::channel::member) fn has_room(&self, limits: &NodeLimits, events: usize, bytes: usize) -> bool {
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
    fn a_client_waits_at_a_limit_of_events_or_bytes_and_is_told_once_when_there_is_room() {
        let (mailbox, inbound) = (Mailbox::default(), Inbound::default());
        assert!(mailbox.admit_from_client(&LIMITS, &inbound, 100), "a single event is always accepted");
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
    fn events_from_elsewhere_have_a_limit_of_number_and_bytes() {
        let mailbox = Mailbox::default();
        assert!(mailbox.admit_from_elsewhere(&LIMITS, 9));
        assert!(!mailbox.admit_from_elsewhere(&LIMITS, 2));
        assert!(mailbox.admit_from_elsewhere(&LIMITS, 1));
        assert!(!mailbox.admit_from_elsewhere(&LIMITS, 0));
        mailbox.handled_from_elsewhere(9);
        assert!(mailbox.has_room(&LIMITS, 1, 9));
    }
}
