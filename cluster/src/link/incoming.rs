//! What a node receives.

use std::collections::BTreeMap;
use std::ops::Range;

use super::receiving::Delivery;
use super::sender::Sender;
use crate::bus::Lane;
use crate::cluster::HeardCounts;
use crate::moment::Moment;
use crate::node::{Epoch, NodeId};
use crate::wire::{Batch, Head, Messages, Repeat};

/// What is told of a sender, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncomingEvent {
    /// Messages of the sender.
    Messages(Messages),
    /// What comes next was sent after something that is lost.
    Lost,
}

/// The batches of all living senders.
///
/// A sender's lane to all begins with what was heard first. Its lane to this node begins with the first batch ever: nobody else has this
/// epoch.
pub struct Incoming {
    me: NodeId,
    /// The most bytes of a sender that wait behind gaps. A sender's ring has as many: what is missing before so many has left it.
    held_bytes_max: usize,
    senders: BTreeMap<Epoch, Sender>,
    counts: HeardCounts,
    duplicates: u64,
}

/// A request to a sender to repeat batches.
#[derive(Debug, PartialEq, Eq)]
pub struct Ask {
    /// Who is asked.
    pub whom: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The numbers of the batches.
    pub ranges: Vec<Range<u64>>,
}

impl Incoming {
    /// Nothing of anybody, yet.
    #[must_use]
    pub fn new(me: NodeId, held_bytes_max: usize) -> Self {
        Self { me, held_bytes_max, senders: BTreeMap::new(), counts: HeardCounts::default(), duplicates: 0 }
    }

    fn sender(&mut self, from: Epoch) -> &mut Sender {
        self.senders.entry(from).or_insert_with(|| Sender::new(self.me.epoch))
    }

    /// Takes a batch that was sent for the first time.
    pub fn batch(&mut self, from: Epoch, batch: Batch, now: Moment) -> Vec<IncomingEvent> {
        let mut out = Vec::new();
        if let Some(lane) = self.sender(from).begin(batch.lane, batch.number)
            && !lane.take(batch.number, batch.messages, &mut out)
        {
            self.duplicates += 1;
        }
        self.events(from, out, now)
    }

    /// Takes batches that were sent before.
    pub fn repeat(&mut self, from: Epoch, repeat: Repeat, now: Moment) -> Vec<IncomingEvent> {
        let (mut out, mut count, mut duplicates) = (Vec::new(), 0, 0);
        if let Some(lane) = self.sender(from).lane(repeat.lane) {
            for (number, messages) in (repeat.first..).zip(repeat.batches) {
                // A slice would keep the whole repeat in memory as long as one batch of it waits.
                let is_new = lane.take(number, messages.detached(), &mut out);
                count += 1;
                duplicates += u64::from(!is_new);
            }
        }
        self.counts.repeats += count;
        self.duplicates += duplicates;
        self.events(from, out, now)
    }

    /// Takes a heartbeat.
    pub fn heartbeat(&mut self, from: Epoch, heads: &[Head], now: Moment) -> Vec<IncomingEvent> {
        let mut out = Vec::new();
        let sender = self.sender(from);
        for head in heads {
            if let Some(lane) = sender.begin(head.lane, head.next) {
                lane.head(head.oldest, head.next, &mut out);
            }
        }
        // If it isn't among them, nothing was ever sent to all.
        sender.begin(Lane::All, 1);
        self.events(from, out, now)
    }

    fn events(&mut self, from: Epoch, mut out: Vec<Delivery>, now: Moment) -> Vec<IncomingEvent> {
        let held_bytes_max = self.held_bytes_max;
        let sender = self.sender(from);
        sender.give_up_over(held_bytes_max, &mut out);
        let gaps = sender.notice(now);
        let losses = out.iter().filter(|delivery| **delivery == Delivery::Lost).count() as u64;
        sender.losses += losses;
        self.counts.gaps += gaps;
        self.counts.losses += losses;
        let counts = &mut self.counts;
        let events = out.into_iter().map(|delivery| match delivery {
            Delivery::Lost => IncomingEvent::Lost,
            Delivery::Messages(messages) => {
                counts.flushes += 1;
                counts.messages += messages.number() as u64;
                counts.bytes += messages.len() as u64;
                IncomingEvent::Messages(messages)
            }
        });
        events.collect()
    }

    /// Another node asks this one to repeat something.
    pub fn asked(&mut self) {
        self.counts.nacks += 1;
    }

    /// Requests to repeat that are due.
    pub fn asks(&mut self, now: Moment) -> Vec<Ask> {
        let lanes = [Lane::All, Lane::Node(self.me.epoch)];
        let mut asks = Vec::new();
        for (whom, sender) in &mut self.senders {
            for lane in lanes {
                let ranges = sender.lane(lane).and_then(|receiving| receiving.ask(now));
                asks.extend(ranges.map(|ranges| Ask { whom: *whom, lane, ranges }));
            }
        }
        asks
    }

    /// When the next request is due.
    #[must_use]
    pub fn ask_at(&self) -> Option<Moment> {
        self.senders.values().filter_map(Sender::ask_at).min()
    }

    /// Drops everything of a sender that is dead.
    pub fn forget(&mut self, sender: Epoch) {
        self.senders.remove(&sender);
    }

    /// How many batches of a sender weren't received yet, and how many gaps and losses there were.
    #[must_use]
    pub fn lag(&self, sender: Epoch) -> (u64, u64, u64) {
        let Some(sender) = self.senders.get(&sender) else { return (0, 0, 0) };
        (sender.behind(), sender.gaps, sender.losses)
    }

    /// The bytes that wait behind gaps, of the sender with most of them.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.senders.values().map(Sender::held_bytes).max().unwrap_or_default()
    }

    /// Counts since the start, and how many batches were dropped because they were received before.
    #[must_use]
    pub fn counts(&self) -> (HeardCounts, u64) {
        (self.counts, self.duplicates)
    }
}
