//! A lane as its sender has it.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::KEPT_BYTES;
use crate::bus::Lane;
use crate::moment::Moment;
use crate::wire::{BATCHES_MAX, Head, Messages, MessagesBuilder, Repeat};

/// How long a batch isn't repeated again. So if several nodes miss the same one, it is repeated once. It is shorter than the pause after
/// which a node asks again.
const REPEATED: Duration = Duration::from_millis(50);

/// The messages of a lane that wait, and the ring of batches that were sent.
pub(super) struct SendingLane {
    waiting: VecDeque<WaitingMessage>,
    ring: VecDeque<SentBatch>,
    /// The number of the next batch.
    next: u64,
    /// The numbers that are to be repeated.
    wanted: BTreeSet<u64>,
}

struct WaitingMessage {
    order: u64,
    message: Bytes,
}

struct SentBatch {
    at: Moment,
    repeated: Option<Moment>,
    messages: Messages,
}

impl SendingLane {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), ring: VecDeque::new(), next: 1, wanted: BTreeSet::new() }
    }

    pub(super) fn push(&mut self, order: u64, message: Bytes) {
        self.waiting.push_back(WaitingMessage { order, message });
    }

    /// The place of the oldest message that waits, among all that this node was given.
    pub(super) fn order(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.order)
    }

    /// The bytes of what waits, as [`cost`] counts them.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|waiting| cost(waiting.message.len())).sum()
    }

    /// The bytes of the ring, as [`cost`] counts them.
    pub(super) fn ring_bytes(&self) -> usize {
        self.ring.iter().map(|sent| cost(sent.messages.len())).sum()
    }

    /// Takes what fits into one batch. Returns its number, its messages, how many they are, and how many bytes wait less now.
    pub(super) fn batch(&mut self, flush_bytes: usize) -> (u64, Messages, usize, usize) {
        let mut messages = MessagesBuilder::default();
        let mut bytes = 0;
        while let Some(waiting) = self.waiting.front()
            && messages.push(&waiting.message, flush_bytes)
        {
            bytes += cost(waiting.message.len());
            self.waiting.pop_front();
        }
        let count = messages.count();
        (self.next, messages.build(), count, bytes)
    }

    /// Puts the next batch into the ring. Returns its bytes.
    pub(super) fn sent(&mut self, messages: Messages, now: Moment) -> usize {
        let bytes = cost(messages.len());
        self.next += 1;
        self.ring.push_back(SentBatch { at: now, repeated: None, messages });
        bytes
    }

    /// When the oldest batch of the ring was sent.
    pub(super) fn oldest_at(&self) -> Option<Moment> {
        self.ring.front().map(|sent| sent.at)
    }

    /// Drops the oldest batch of the ring. Returns its bytes.
    pub(super) fn drop_oldest(&mut self) -> usize {
        self.ring.pop_front().map_or(0, |sent| cost(sent.messages.len()))
    }

    fn oldest(&self) -> u64 {
        self.next - self.ring.len() as u64
    }

    /// What a heartbeat says of the lane. Nothing if nothing was ever sent to it.
    pub(super) fn head(&self, lane: Lane) -> Option<Head> {
        (self.next > 1).then(|| Head { lane, oldest: self.oldest(), next: self.next })
    }

    /// Notes that somebody asks for batches. Returns whether all of them that were sent are in the ring.
    pub(super) fn want(&mut self, range: &Range<u64>, now: Moment) -> bool {
        let oldest = self.oldest();
        for number in range.start.max(oldest)..range.end.min(self.next) {
            let sent = self.kept(number);
            if sent.is_some_and(|sent| sent.repeated.is_none_or(|at| now.since(at) >= REPEATED)) {
                self.wanted.insert(number);
            }
        }
        range.start >= oldest
    }

    fn kept(&mut self, number: u64) -> Option<&mut SentBatch> {
        let at = number.checked_sub(self.oldest())?;
        self.ring.get_mut(usize::try_from(at).ok()?)
    }

    /// Takes consecutive batches that are to be repeated, as many as fit into one flush.
    pub(super) fn repeat(&mut self, lane: Lane, flush_bytes: usize, now: Moment) -> Option<Repeat> {
        // What has left the ring since it was wanted is told by the next heartbeat.
        self.wanted = self.wanted.split_off(&self.oldest());
        let first = *self.wanted.first()?;
        let mut batches = Vec::new();
        let mut bytes = 0;
        let mut number = first;
        while self.wanted.contains(&number) && batches.len() < BATCHES_MAX {
            let Some(sent) = self.kept(number) else { break };
            bytes += 4 + sent.messages.len();
            if bytes > flush_bytes && number > first {
                break;
            }
            sent.repeated = Some(now);
            batches.push(sent.messages.clone());
            self.wanted.remove(&number);
            number += 1;
        }
        Some(Repeat { lane, first, batches })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.wanted.is_empty()
    }
}

/// What a message or batch of so many bytes counts.
pub(super) const fn cost(bytes: usize) -> usize {
    bytes + KEPT_BYTES
}
