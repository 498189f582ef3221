//! Who is alive, and who was heard.

mod entry;
mod namesake;
mod own_heartbeats;
mod polls;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use entry::NodeEntry;
pub use namesake::{Namesake, NamesakeState};
use own_heartbeats::OwnHeartbeats;
pub use polls::Polls;
pub use watch::Watch;

use crate::moment::Moment;
use crate::node::{Epoch, NodeId, Speaks};
use crate::table::NodeRow;

/// How long a node isn't heard before it counts as silent, if this node's own heartbeats come back meanwhile.
pub const SILENCE: Duration = Duration::from_secs(5);

/// How many epochs of dead nodes are remembered after the table has dropped their rows. Their frames are then dropped as those of the
/// dead, and don't make this node look at the table.
const DEAD_MAX: usize = 1_024;

/// A change of the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A node is alive in the table. It wasn't heard yet.
    Alive(Epoch),
    /// A node was heard for the first time.
    Up(Epoch),
    /// A node wasn't heard for [`SILENCE`].
    Silent(Epoch),
    /// A silent node was heard.
    Heard(Epoch),
    /// A node that was alive is dead in the table, or its row is gone.
    Dead(Epoch),
    /// A node's beat stood still for a lease. The table is to be asked to declare it dead.
    Expired {
        /// Which one.
        node: Epoch,
        /// The beat that it had.
        beat: u64,
    },
    /// This node itself is dead in the table.
    Fenced,
}

/// What is known of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is alive.
    Alive,
    /// It is dead.
    Dead,
    /// Its epoch is that of another incarnation.
    OtherIncarnation,
    /// The table doesn't have it, as far as it was read.
    Unknown,
    /// It is this node.
    Own,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    /// Its row, as it was read last.
    pub row: &'a NodeRow,
    /// Since when its beat is seen unchanged, in polls without a break.
    pub beat_since: Moment,
    /// When it was heard last.
    pub heard: Option<Moment>,
    /// Whether it was heard, and then wasn't for [`SILENCE`].
    pub is_silent: bool,
}

/// The rows of the table as they were read last, and what was heard of each node.
pub struct Membership {
    me: NodeId,
    lease: Duration,
    nodes: BTreeMap<Epoch, NodeEntry>,
    dead: BTreeSet<Epoch>,
    /// When the last poll was answered, unless it failed.
    polled: Option<Moment>,
    own: OwnHeartbeats,
}

impl Membership {
    /// Nobody is known yet.
    #[must_use]
    pub fn new(me: NodeId, lease: Duration) -> Self {
        Self { me, lease, nodes: BTreeMap::new(), dead: BTreeSet::new(), polled: None, own: OwnHeartbeats::default() }
    }

    /// Takes the table's rows, which were asked for at one moment and came at another.
    pub fn polled(&mut self, rows: Vec<NodeRow>, sent_at: Moment, now: Moment) -> Vec<MembershipChange> {
        let mut changes = Vec::new();
        let is_unbroken = self.polled.is_some_and(|last| Watch::is_unbroken(self.lease, last, now));
        self.polled = Some(now);
        let mut gone: BTreeSet<Epoch> = self.nodes.keys().copied().collect();
        for row in rows {
            gone.remove(&row.id.epoch);
            self.row(row, is_unbroken, (sent_at, now), &mut changes);
        }
        for node in gone {
            // A row that was alive may be missing after a failover of the database that lost it.
            self.mark_dead(node, &mut changes);
            self.nodes.remove(&node);
        }
        if !self.nodes.get(&self.me.epoch).is_some_and(|entry| entry.row.id == self.me && !entry.row.is_dead) {
            changes.push(MembershipChange::Fenced);
        }
        changes
    }

    /// Takes one row that came with an unbroken poll, or not.
    fn row(
        &mut self,
        row: NodeRow,
        is_unbroken: bool,
        (sent_at, now): (Moment, Moment),
        changes: &mut Vec<MembershipChange>,
    ) {
        let node = row.id.epoch;
        if self.nodes.get(&node).is_some_and(|entry| entry.row.id != row.id) {
            self.mark_dead(node, changes);
            self.nodes.remove(&node);
        }
        if row.is_dead {
            self.mark_dead(node, changes);
        }
        let is_other = node != self.me.epoch;
        let entry = match self.nodes.entry(node) {
            Slot::Vacant(vacant) => {
                if !row.is_dead && is_other {
                    self.dead.remove(&node);
                    changes.push(MembershipChange::Alive(node));
                }
                vacant.insert(NodeEntry::new(row, now))
            }
            Slot::Occupied(occupied) => {
                let entry = occupied.into_mut();
                entry.watch.saw(row.beat, is_unbroken, now);
                // The dead stay dead, whatever an older answer of the table says.
                let is_dead = entry.row.is_dead || row.is_dead;
                entry.row = NodeRow { is_dead, ..row };
                entry
            }
        };
        if is_other && !entry.row.is_dead && entry.watch.is_over(self.lease, sent_at) {
            changes.push(MembershipChange::Expired { node, beat: entry.row.beat });
        }
    }

    fn mark_dead(&mut self, node: Epoch, changes: &mut Vec<MembershipChange>) {
        let Some(entry) = self.nodes.get_mut(&node) else { return };
        if entry.row.is_dead || node == self.me.epoch {
            return;
        }
        entry.row.is_dead = true;
        self.dead.insert(node);
        if self.dead.len() > DEAD_MAX {
            self.dead.pop_first();
        }
        changes.push(MembershipChange::Dead(node));
    }

    /// A poll has failed. So it isn't known any more whether a beat stands still because its node is dead.
    /// Returns whether the one before it was answered.
    pub fn poll_failed(&mut self) -> bool {
        self.polled.take().is_some()
    }

    /// Says who a sender is.
    #[must_use]
    pub fn known(&self, id: NodeId) -> Known {
        if id == self.me {
            return Known::Own;
        }
        match self.nodes.get(&id.epoch) {
            Some(entry) if entry.row.id != id => Known::OtherIncarnation,
            Some(entry) if entry.row.is_dead => Known::Dead,
            Some(_) => Known::Alive,
            None if self.dead.contains(&id.epoch) => Known::Dead,
            None => Known::Unknown,
        }
    }

    /// A living node was heard.
    pub fn heard(&mut self, node: Epoch, now: Moment) -> Option<MembershipChange> {
        let entry = self.nodes.get_mut(&node)?;
        let before = entry.heard.replace(now);
        let was_silent = std::mem::take(&mut entry.is_silent);
        match before {
            None => Some(MembershipChange::Up(node)),
            Some(_) if was_silent => Some(MembershipChange::Heard(node)),
            Some(_) => None,
        }
    }

    /// An own heartbeat came back.
    pub fn own_heartbeat(&mut self, now: Moment) {
        self.own.came_back(now);
    }

    /// The bus is down, so nobody can be heard.
    pub fn bus_down(&mut self) {
        self.own = OwnHeartbeats::default();
    }

    /// Looks who has become silent.
    pub fn tick(&mut self, now: Moment) -> Vec<MembershipChange> {
        let Some(since) = self.own.unbroken_since(now) else { return Vec::new() };
        let mut changes = Vec::new();
        for (node, entry) in &mut self.nodes {
            let Some(heard) = entry.heard.filter(|_| !entry.is_silent && !entry.row.is_dead) else { continue };
            if now.since(heard.max(since)) >= SILENCE {
                entry.is_silent = true;
                changes.push(MembershipChange::Silent(*node));
            }
        }
        changes
    }

    /// The highest version of the protocol that all living nodes understand, this one among them. None if there isn't one.
    #[must_use]
    pub fn version(&self, own: Speaks) -> Option<u16> {
        let living = self.nodes.values().filter(|entry| !entry.row.is_dead).map(|entry| entry.row.speaks);
        let both =
            living.fold(own, |both, speaks| Speaks { from: both.from.max(speaks.from), to: both.to.min(speaks.to) });
        (both.from <= both.to).then_some(both.to)
    }

    /// All nodes, ordered by epoch.
    pub fn rows(&self) -> impl Iterator<Item = NodeView<'_>> {
        self.nodes.values().map(|entry| NodeView {
            row: &entry.row,
            beat_since: entry.watch.since(),
            heard: entry.heard,
            is_silent: entry.is_silent,
        })
    }
}
