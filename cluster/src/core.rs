//! All that a node decides of what it hears and reads, without I/O and without a clock.
//!
//! The tasks of [`Cluster`](crate::Cluster) and the simulation of the tests drive the same core.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::bus::BusEvent;
use crate::cluster::{ClusterEvent, ClusterLimits, DroppedCounts, HeardCounts, NodePresence, NodeStatus, TableCounts};
use crate::lease::{Lease, LeaseState};
use crate::link::{Incoming, IncomingEvent, Outgoing};
use crate::membership::{Known, Membership, MembershipChange, NodeView, SILENCE};
use crate::moment::Moment;
use crate::node::{Epoch, NodeId, Speaks};
use crate::table::NodeRow;
use crate::wire::{Content, Flush, Messages, Seal, WireError};

/// What the host is told next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreOutput {
    /// Messages of a node, which become one event each.
    Messages(Epoch, Messages),
    /// Any other event.
    Event(ClusterEvent),
}

/// A node whose beat stood still for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiredNode {
    /// Which one.
    pub node: Epoch,
    /// The beat that it had.
    pub beat: u64,
}

/// What a node knows of the others, and what it has still to tell its host.
///
/// What is told is bounded: one call adds at most what one sender held behind a gap, and the bus isn't read before that is told. Beside
/// that, each node has a few changes at most.
pub struct Core {
    me: NodeId,
    speaks: Speaks,
    seal: Seal,
    membership: Membership,
    incoming: Incoming,
    outputs: VecDeque<CoreOutput>,
    lease: Arc<Lease>,
    /// What the host was told last of the lease.
    reported: LeaseState,
    is_hinted: bool,
    is_leaving: bool,
    downs: u64,
    dropped: DroppedCounts,
    table: TableCounts,
}

impl Core {
    /// A node that has just got its epoch, with a good lease.
    #[must_use]
    pub fn new(me: NodeId, speaks: Speaks, seal: Seal, lease: Arc<Lease>, limits: ClusterLimits) -> Self {
        Self {
            me,
            speaks,
            seal,
            membership: Membership::new(me, lease.length()),
            incoming: Incoming::new(me, limits.ring_bytes),
            outputs: VecDeque::new(),
            lease,
            reported: LeaseState::Good,
            is_hinted: false,
            is_leaving: false,
            downs: 0,
            dropped: DroppedCounts::default(),
            table: TableCounts::default(),
        }
    }

    /// Takes what came from the bus.
    pub fn hear(&mut self, event: BusEvent, now: Moment, outgoing: &mut Outgoing) {
        match event {
            BusEvent::Flush(bytes) => self.flush(bytes, now, outgoing),
            BusEvent::Down => {
                self.downs += 1;
                self.membership.bus_down();
            }
            // The numbers say what was missed.
            BusEvent::Up => {}
            BusEvent::NodesChanged => self.is_hinted = true,
        }
        self.tick(now, outgoing);
    }

    fn flush(&mut self, bytes: Bytes, now: Moment, outgoing: &mut Outgoing) {
        if self.is_fenced() {
            return;
        }
        let flush = match Flush::decode(bytes, &self.seal, self.speaks) {
            Ok(flush) => flush,
            Err(error) => return self.unreadable(error),
        };
        match self.membership.known(flush.from) {
            Known::Alive => self.content(flush.from.epoch, flush.content, now, outgoing),
            Known::Own => {
                if matches!(flush.content, Content::Heartbeat(_)) {
                    self.membership.own_heartbeat(now);
                }
            }
            Known::Dead => self.dropped.dead += 1,
            Known::OtherIncarnation => {
                self.dropped.incarnation += 1;
                self.is_hinted = true;
            }
            Known::Unknown => {
                self.dropped.unknown += 1;
                self.is_hinted = true;
            }
        }
    }

    fn unreadable(&mut self, error: WireError) {
        match error {
            WireError::Version(_) => self.dropped.version += 1,
            WireError::Forged => self.dropped.forged += 1,
            _ => self.dropped.malformed += 1,
        }
    }

    fn content(&mut self, from: Epoch, content: Content, now: Moment, outgoing: &mut Outgoing) {
        if let Some(change) = self.membership.heard(from, now) {
            self.change(change, outgoing);
        }
        let received = match content {
            Content::Batch(batch) => self.incoming.batch(from, batch, now),
            Content::Repeat(repeat) => self.incoming.repeat(from, repeat, now),
            Content::Heartbeat(heads) => self.incoming.heartbeat(from, &heads, now),
            Content::Nack { whom, lane, ranges } => {
                if whom == self.me.epoch {
                    self.incoming.asked();
                    outgoing.asked(lane, &ranges, now);
                }
                return;
            }
            Content::NodesChanged => {
                self.is_hinted = true;
                return;
            }
        };
        self.outputs.extend(received.into_iter().map(|event| match event {
            IncomingEvent::Messages(messages) => CoreOutput::Messages(from, messages),
            IncomingEvent::Lost => CoreOutput::Event(ClusterEvent::Lost { from }),
        }));
    }

    /// Takes the rows of the table, which were asked for at one moment and came at another. Returns whom to declare dead.
    pub fn polled(
        &mut self,
        rows: Vec<NodeRow>,
        sent_at: Moment,
        now: Moment,
        outgoing: &mut Outgoing,
    ) -> Vec<ExpiredNode> {
        self.table.polls += 1;
        if self.is_fenced() {
            return Vec::new();
        }
        let changes = self.membership.polled(rows, sent_at, now);
        let expired = changes.iter().filter_map(|change| match change {
            MembershipChange::Expired { node, beat } => Some(ExpiredNode { node: *node, beat: *beat }),
            _ => None,
        });
        let expired = expired.collect();
        for change in changes {
            self.change(change, outgoing);
        }
        if let Some(version) = self.membership.version(self.speaks) {
            outgoing.set_version(version);
        }
        self.tick(now, outgoing);
        expired
    }

    /// The table didn't answer. Returns whether it did before.
    pub fn poll_failed(&mut self) -> bool {
        self.table.poll_failures += 1;
        self.membership.poll_failed()
    }

    /// This node has declared another one dead. It is known as dead when the table is read next, which should be soon.
    pub fn declared_dead(&mut self, outgoing: &mut Outgoing) {
        self.table.declared_dead += 1;
        self.is_hinted = true;
        outgoing.hint();
    }

    /// This node sets its own row dead. The host isn't told so.
    pub fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Tells what the lease is if that has changed.
    fn report_lease(&mut self, now: Moment, outgoing: &mut Outgoing) {
        if self.is_leaving {
            return;
        }
        if outgoing.is_fenced() {
            self.lease.fence();
        }
        // A fenced lease stays so, and is told once.
        let state = self.lease.state(now);
        if state == self.reported {
            return;
        }
        self.reported = state;
        self.outputs.push_back(CoreOutput::Event(match state {
            LeaseState::Good => ClusterEvent::Resumed,
            LeaseState::Suspended => {
                self.table.suspensions += 1;
                ClusterEvent::Suspended
            }
            LeaseState::Fenced => {
                outgoing.end();
                ClusterEvent::Fenced
            }
        }));
    }

    fn change(&mut self, change: MembershipChange, outgoing: &mut Outgoing) {
        let event = match change {
            MembershipChange::Alive(node) => {
                if !outgoing.add(node) {
                    tracing::warn!(epoch = node.0, "there are too many nodes; nothing can be sent to this one alone");
                }
                return;
            }
            MembershipChange::Up(node) => ClusterEvent::Up(node),
            MembershipChange::Silent(node) => ClusterEvent::Silent(node),
            MembershipChange::Heard(node) => ClusterEvent::Heard(node),
            MembershipChange::Dead(node) => {
                self.incoming.forget(node);
                outgoing.forget(node);
                ClusterEvent::Dead(node)
            }
            MembershipChange::Expired { .. } => return,
            MembershipChange::Fenced if self.is_leaving => return,
            MembershipChange::Fenced => return self.lease.fence(),
        };
        self.outputs.push_back(CoreOutput::Event(event));
    }

    /// Does what is due: tells what the lease is and who is silent, and asks for what is missing.
    pub fn tick(&mut self, now: Moment, outgoing: &mut Outgoing) {
        self.report_lease(now, outgoing);
        if self.is_fenced() {
            return;
        }
        for ask in self.incoming.asks(now) {
            outgoing.ask(ask.whom, ask.lane, ask.ranges);
        }
        for change in self.membership.tick(now) {
            self.change(change, outgoing);
        }
    }

    /// When [`Self::tick`] is to be called next, at the latest.
    #[must_use]
    pub fn next_tick(&self, now: Moment) -> Moment {
        // Somebody who becomes silent is told a fifth of a second later at most.
        let soon = now + SILENCE / 25;
        let lease = self.lease.until().filter(|_| self.reported == LeaseState::Good);
        [self.incoming.ask_at(), lease].into_iter().flatten().fold(soon, Moment::min)
    }

    /// What the host is told next.
    pub fn next_output(&mut self) -> Option<CoreOutput> {
        self.outputs.pop_front()
    }

    /// Whether there is something to tell.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Whether this start of the node is over and the host was told everything.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_fenced() && self.outputs.is_empty()
    }

    /// Whether this start of the node is over. Nothing more happens, but what is still to tell is told.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.reported == LeaseState::Fenced
    }

    /// Whether the table should be read soon. Says so once.
    pub fn takes_hint(&mut self) -> bool {
        std::mem::take(&mut self.is_hinted)
    }

    /// The bytes that wait behind gaps, of the sender with most of them.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.incoming.held_bytes()
    }

    /// All nodes.
    pub fn nodes(&self, now: Moment) -> impl Iterator<Item = NodeStatus> {
        self.membership.rows().map(move |NodeView { row, beat_since, heard, is_silent }| {
            let (behind, gaps, losses) = self.incoming.lag(row.id.epoch);
            let presence = match heard {
                _ if row.is_dead => NodePresence::Dead,
                _ if row.id == self.me => NodePresence::Own,
                None => NodePresence::Unheard,
                Some(_) if is_silent => NodePresence::Silent,
                Some(_) => NodePresence::Up,
            };
            let heard_ago = heard.map(|heard| now.since(heard));
            let beat_ago = (!row.is_dead).then(|| now.since(beat_since));
            NodeStatus { row: row.clone(), presence, heard_ago, beat_ago, behind, gaps, losses }
        })
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> (HeardCounts, DroppedCounts, TableCounts) {
        let (heard, duplicate) = self.incoming.counts();
        let (renewals, misses) = self.lease.counts();
        (
            HeardCounts { downs: self.downs, ..heard },
            DroppedCounts { duplicate, ..self.dropped },
            TableCounts { renewals, misses, ..self.table },
        )
    }
}
