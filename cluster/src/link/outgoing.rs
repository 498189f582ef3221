//! What a node sends.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::HEARTBEAT;
use super::sending::{SendingLane, cost};
use crate::bus::{BusError, Lane};
use crate::cluster::{ClusterLimits, SendError, SentCounts};
use crate::moment::Moment;
use crate::node::{Epoch, NodeId};
use crate::wire::{Batch, Content, Flush, HEADS_MAX, MESSAGE_BYTES_MAX, Messages, Seal};

/// The first pause after a flush that failed. It is doubled with each failure that follows.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// The least time between two heartbeats. Somebody who asks for what has left the ring gets one at once, but not more often.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// What the sender does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Gives this to the bus, and then calls [`Outgoing::done`].
    Send(Lane, Bytes),
    /// Nothing until then, unless something is pushed before.
    Wait(Moment),
    /// Nothing any more.
    End,
}

/// The queue of messages, their batches and numbers, and the ring.
///
/// One flush is sent at a time. One that failed is sent again with the same number until the bus takes it: whoever heard it drops the
/// second one. So nothing is lost here while the bus is down, until the queue is full.
pub struct Outgoing {
    me: NodeId,
    version: u16,
    seal: Seal,
    limits: ClusterLimits,
    flush_bytes: usize,
    pause: Duration,
    /// The lane to all, and one for each other living node.
    lanes: BTreeMap<Lane, SendingLane>,
    queue_bytes: usize,
    ring_bytes: usize,
    /// How many messages were pushed.
    order: u64,
    nacks: BTreeMap<(Epoch, Lane), Vec<Range<u64>>>,
    is_hint_wanted: bool,
    heartbeat_at: Moment,
    last_heartbeat: Moment,
    in_flight: Option<InFlight>,
    failed: Option<Unsent>,
    failures: u32,
    not_before: Moment,
    /// Whether a repeat goes before a batch, so that neither waits for all of the other.
    is_repeat_next: bool,
    is_ended: bool,
    is_fenced: bool,
    /// Whether the last answer was to wait.
    is_waiting: bool,
    /// Whether there is something to send since then.
    is_woken: bool,
    counts: SentCounts,
}

enum InFlight {
    Batch(Unsent),
    /// Anything else. It is made anew when it is needed again.
    Other,
}

/// A batch that has a number and wasn't taken by the bus yet.
struct Unsent {
    lane: Lane,
    number: u64,
    messages: Messages,
    count: usize,
    was_refused: bool,
}

impl Outgoing {
    /// A node's queue. It sends at most so many bytes in a flush, unless one message has more, and pauses so long between two flushes.
    #[must_use]
    pub fn new(me: NodeId, version: u16, seal: Seal, limits: ClusterLimits, bus: (usize, Duration)) -> Self {
        Self {
            me,
            version,
            seal,
            limits,
            flush_bytes: bus.0.min(MESSAGE_BYTES_MAX),
            pause: bus.1,
            lanes: BTreeMap::from([(Lane::All, SendingLane::new())]),
            queue_bytes: 0,
            ring_bytes: 0,
            order: 0,
            nacks: BTreeMap::new(),
            is_hint_wanted: false,
            heartbeat_at: Moment::START,
            last_heartbeat: Moment::START,
            in_flight: None,
            failed: None,
            failures: 0,
            not_before: Moment::START,
            is_repeat_next: false,
            is_ended: false,
            is_fenced: false,
            is_waiting: false,
            is_woken: false,
            counts: SentCounts::default(),
        }
    }

    /// Adds a message to a lane's queue.
    ///
    /// # Errors
    ///
    /// If it is too large, the queue is full, the lane's node isn't alive, or this node is over. Nobody gets the message then.
    pub fn push(&mut self, lane: Lane, message: Bytes) -> Result<(), SendError> {
        if self.is_ended {
            return Err(SendError::Fenced);
        }
        if message.len() > self.limits.message_bytes {
            return Err(SendError::TooLarge);
        }
        let Some(sending) = self.lanes.get_mut(&lane) else { return Err(SendError::NoSuchNode) };
        let bytes = cost(message.len());
        if self.queue_bytes + bytes > self.limits.queue_bytes {
            self.counts.full += 1;
            return Err(SendError::Full);
        }
        self.queue_bytes += bytes;
        self.order += 1;
        sending.push(self.order, message);
        self.is_woken = true;
        Ok(())
    }

    /// What is sent next. Without a call of [`Self::done`] since the last flush, that flush counts as failed.
    pub fn next(&mut self, now: Moment) -> Next {
        let next = self.find_next(now);
        (self.is_waiting, self.is_woken) = (matches!(next, Next::Wait(_)), false);
        next
    }

    /// Whether [`Self::next`] was told to wait, and has something else to say now. Says so once.
    pub fn takes_wake(&mut self) -> bool {
        let is_woken = self.is_waiting && self.is_woken;
        self.is_waiting &= !is_woken;
        is_woken
    }

    fn find_next(&mut self, now: Moment) -> Next {
        if self.in_flight.is_some() {
            self.done(Err(BusError::Down("the flush was given up".to_owned())), now);
        }
        if self.is_ended {
            return Next::End;
        }
        if now < self.not_before {
            return Next::Wait(self.not_before);
        }
        self.not_before = now + self.pause;
        self.shrink_ring(now);
        match self.choose(now) {
            Some((lane, content)) => {
                let flush = Flush { version: self.version, from: self.me, content };
                Next::Send(lane, flush.encode(&self.seal))
            }
            None => {
                self.not_before = now;
                Next::Wait(self.heartbeat_at)
            }
        }
    }

    fn choose(&mut self, now: Moment) -> Option<(Lane, Content)> {
        if let Some(unsent) = self.failed.take() {
            return Some(self.fly(unsent));
        }
        self.in_flight = Some(InFlight::Other);
        if let Some(((whom, lane), ranges)) = self.nacks.pop_first() {
            self.counts.nacks += 1;
            return Some((Lane::Node(whom), Content::Nack { whom, lane, ranges }));
        }
        if now >= self.heartbeat_at {
            self.heartbeat_at = now + HEARTBEAT;
            self.last_heartbeat = now;
            let heads = self.lanes.iter().filter_map(|(lane, sending)| sending.head(*lane));
            return Some((Lane::All, Content::Heartbeat(heads.collect())));
        }
        if std::mem::take(&mut self.is_hint_wanted) {
            return Some((Lane::All, Content::NodesChanged));
        }
        self.is_repeat_next = !self.is_repeat_next;
        let chosen = if self.is_repeat_next {
            self.repeat(now).or_else(|| self.batch())
        } else {
            self.batch().or_else(|| self.repeat(now))
        };
        if chosen.is_none() {
            self.in_flight = None;
        }
        chosen
    }

    fn batch(&mut self) -> Option<(Lane, Content)> {
        let waiting = self.lanes.iter_mut().filter_map(|(lane, sending)| Some((sending.order()?, *lane, sending)));
        let (_, lane, sending) = waiting.min_by_key(|(order, ..)| *order)?;
        let (number, messages, count, bytes) = sending.batch(self.flush_bytes);
        self.queue_bytes -= bytes;
        Some(self.fly(Unsent { lane, number, messages, count, was_refused: false }))
    }

    fn fly(&mut self, unsent: Unsent) -> (Lane, Content) {
        let (lane, number, messages) = (unsent.lane, unsent.number, unsent.messages.clone());
        self.in_flight = Some(InFlight::Batch(unsent));
        (lane, Content::Batch(Batch { lane, number, messages }))
    }

    /// A repeat goes to its lane, not to those who asked: often more than one has missed it.
    fn repeat(&mut self, now: Moment) -> Option<(Lane, Content)> {
        let flush_bytes = self.flush_bytes;
        let repeat = self.lanes.iter_mut().find_map(|(lane, sending)| sending.repeat(*lane, flush_bytes, now))?;
        self.counts.repeats += repeat.batches.len() as u64;
        Some((repeat.lane, Content::Repeat(repeat)))
    }

    /// Takes what became of the last flush.
    pub fn done(&mut self, result: Result<(), BusError>, now: Moment) {
        let Some(in_flight) = self.in_flight.take() else { return };
        let error = match result {
            Ok(()) => {
                self.failures = 0;
                if let InFlight::Batch(unsent) = in_flight {
                    self.sent(unsent, now);
                }
                return;
            }
            Err(BusError::Fenced) => {
                self.is_fenced = true;
                return self.end();
            }
            Err(error) => error,
        };
        self.counts.failures += 1;
        let pause = RETRY_MIN.saturating_mul(1 << self.failures.min(8)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = self.not_before.max(now + pause);
        if let InFlight::Batch(mut unsent) = in_flight
            && self.lanes.contains_key(&unsent.lane)
        {
            if matches!(error, BusError::Refused(_)) && !unsent.messages.is_empty() {
                if unsent.was_refused {
                    // Its number is sent without it, so that the others know that they miss something.
                    self.counts.refused += 1;
                    unsent.messages = Messages::default();
                }
                unsent.was_refused = true;
            }
            self.failed = Some(unsent);
        }
    }

    fn sent(&mut self, unsent: Unsent, now: Moment) {
        if !unsent.messages.is_empty() {
            self.counts.flushes += 1;
            self.counts.messages += unsent.count as u64;
            self.counts.bytes += unsent.messages.len() as u64;
        }
        if let Some(sending) = self.lanes.get_mut(&unsent.lane) {
            self.ring_bytes += sending.sent(unsent.messages, now);
        }
    }

    fn shrink_ring(&mut self, now: Moment) {
        loop {
            let oldest = self.lanes.values_mut().filter_map(|sending| Some((sending.oldest_at()?, sending)));
            let Some((at, sending)) = oldest.min_by_key(|(at, _)| *at) else { return };
            if self.ring_bytes <= self.limits.ring_bytes && now.since(at) < self.limits.ring_age {
                return;
            }
            self.ring_bytes -= sending.drop_oldest();
        }
    }

    /// Asks a node to repeat what it has sent. A later request for the same lane replaces one that wasn't sent yet.
    pub fn ask(&mut self, whom: Epoch, lane: Lane, ranges: Vec<Range<u64>>) {
        if self.lanes.contains_key(&Lane::Node(whom)) {
            self.nacks.insert((whom, lane), ranges);
            self.is_woken = true;
        }
    }

    /// A node asks to repeat what this one has sent.
    pub fn asked(&mut self, lane: Lane, ranges: &[Range<u64>], now: Moment) {
        let Some(sending) = self.lanes.get_mut(&lane) else { return };
        let mut are_kept = true;
        for range in ranges {
            are_kept &= sending.want(range, now);
        }
        self.is_woken = true;
        if !are_kept {
            self.heartbeat_at = self.heartbeat_at.min(self.last_heartbeat + HEARTBEAT_MIN);
        }
    }

    /// Tells all others soon that the table of nodes has changed.
    pub fn hint(&mut self) {
        (self.is_hint_wanted, self.is_woken) = (true, true);
    }

    /// Adds the lane of a node that is alive. The node soon hears that this one is there. Returns false if there are too many nodes.
    pub fn add(&mut self, node: Epoch) -> bool {
        if self.lanes.len() >= HEADS_MAX {
            return false;
        }
        self.lanes.entry(Lane::Node(node)).or_insert_with(SendingLane::new);
        self.is_woken = true;
        self.heartbeat_at = self.heartbeat_at.min(self.last_heartbeat + HEARTBEAT_MIN);
        true
    }

    /// Drops everything for a node that is dead.
    pub fn forget(&mut self, node: Epoch) {
        if let Some(sending) = self.lanes.remove(&Lane::Node(node)) {
            self.queue_bytes -= sending.waiting_bytes();
            self.ring_bytes -= sending.ring_bytes();
        }
        self.nacks.retain(|(whom, _), _| *whom != node);
        if self.failed.as_ref().is_some_and(|unsent| unsent.lane == Lane::Node(node)) {
            self.failed = None;
        }
    }

    /// Sends nothing any more.
    pub fn end(&mut self) {
        (self.is_ended, self.is_woken) = (true, true);
        self.lanes.clear();
        self.nacks.clear();
        (self.queue_bytes, self.ring_bytes, self.failed) = (0, 0, None);
    }

    /// Whether the bus has said that this node counts as dead.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.is_fenced
    }

    /// Sets the version of the protocol in which flushes are sent from now on.
    pub fn set_version(&mut self, version: u16) {
        self.version = version;
    }

    /// The version of the protocol in which flushes are sent.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Whether the bus has taken everything that was pushed or asked for, or nothing is sent any more.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let is_flying = self.in_flight.is_some() || self.failed.is_some();
        self.is_ended || (!is_flying && !self.is_hint_wanted && self.lanes.values().all(SendingLane::is_empty))
    }

    /// How many flushes have failed since the last one that was taken.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The bytes that wait, and those of the ring.
    #[must_use]
    pub fn bytes(&self) -> (usize, usize) {
        (self.queue_bytes, self.ring_bytes)
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> SentCounts {
        self.counts
    }
}
