//! A lane as its receiver has it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::sending::cost;
use crate::moment::Moment;
use crate::wire::{Messages, RANGES_MAX};

/// The pause after the first request to repeat. It is doubled with each request that brings nothing.
const NACK_MIN: Duration = Duration::from_millis(100);
const NACK_MAX: Duration = Duration::from_secs(2);

/// The batches of one sender to one lane.
pub(super) struct ReceivingLane {
    /// The number that is to be delivered next.
    next: u64,
    /// The sender has given all numbers below this one.
    head: u64,
    /// Batches behind a gap.
    held: BTreeMap<u64, Messages>,
    held_bytes: usize,
    gap: Option<Gap>,
}

/// Something is missing, and was asked for.
struct Gap {
    ask_at: Moment,
    pause: Duration,
}

/// What is delivered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Messages(Messages),
    /// At least one batch is missing here.
    Lost,
}

impl ReceivingLane {
    /// A lane whose next batch has this number.
    pub(super) fn new(next: u64) -> Self {
        Self { next, head: next, held: BTreeMap::new(), held_bytes: 0, gap: None }
    }

    /// Takes a batch. Returns false if it was there before.
    pub(super) fn take(&mut self, number: u64, messages: Messages, out: &mut Vec<Delivery>) -> bool {
        if number < self.next || self.held.contains_key(&number) {
            return false;
        }
        self.head = self.head.max(number.saturating_add(1));
        self.held_bytes += cost(messages.len());
        self.held.insert(number, messages);
        self.deliver(out);
        true
    }

    /// Takes what a heartbeat says.
    pub(super) fn head(&mut self, oldest: u64, next: u64, out: &mut Vec<Delivery>) {
        self.head = self.head.max(next);
        self.give_up(oldest, out);
    }

    /// Gives up the first gap if something waits behind it. Returns whether there was one.
    pub(super) fn give_up_first(&mut self, out: &mut Vec<Delivery>) -> bool {
        let Some(first) = self.held.first_key_value().map(|(number, _)| *number) else { return false };
        self.give_up(first, out);
        true
    }

    /// Everything below this number that isn't here won't come.
    fn give_up(&mut self, limit: u64, out: &mut Vec<Delivery>) {
        while self.next < limit {
            let held = self.held.first_key_value().map_or(limit, |(number, _)| *number);
            self.next = held.min(limit);
            self.gap = None;
            lost(out);
            self.deliver(out);
        }
    }

    fn deliver(&mut self, out: &mut Vec<Delivery>) {
        while let Some(messages) = self.held.remove(&self.next) {
            self.held_bytes -= cost(messages.len());
            self.next += 1;
            if let Some(gap) = &mut self.gap {
                // Something came, so what else was asked for is probably on its way.
                gap.pause = NACK_MIN;
            }
            if messages.is_empty() {
                lost(out);
            } else {
                out.push(Delivery::Messages(messages));
            }
        }
        if self.next == self.head {
            self.gap = None;
        }
    }

    /// Whether there is a gap that wasn't noticed before.
    pub(super) fn notice(&mut self, now: Moment) -> bool {
        let is_new = self.next < self.head && self.gap.is_none();
        if is_new {
            self.gap = Some(Gap { ask_at: now, pause: NACK_MIN });
        }
        is_new
    }

    /// When the sender is to be asked next.
    pub(super) fn ask_at(&self) -> Option<Moment> {
        self.gap.as_ref().map(|gap| gap.ask_at)
    }

    /// What the sender is to be asked for now.
    pub(super) fn ask(&mut self, now: Moment) -> Option<Vec<Range<u64>>> {
        let gap = self.gap.as_mut().filter(|gap| gap.ask_at <= now)?;
        gap.ask_at = now + gap.pause;
        gap.pause = (gap.pause * 2).min(NACK_MAX);
        let mut ranges = Vec::new();
        let mut from = self.next;
        for number in self.held.keys().copied().chain([self.head]) {
            if from < number {
                ranges.push(from..number);
                if ranges.len() == RANGES_MAX {
                    break;
                }
            }
            from = number + 1;
        }
        Some(ranges)
    }

    /// How many batches are known to be sent and weren't received.
    pub(super) fn behind(&self) -> u64 {
        (self.head - self.next).saturating_sub(self.held.len() as u64)
    }

    /// The bytes of what waits behind a gap.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

/// Several losses with nothing in between are one.
fn lost(out: &mut Vec<Delivery>) {
    if out.last() != Some(&Delivery::Lost) {
        out.push(Delivery::Lost);
    }
}
