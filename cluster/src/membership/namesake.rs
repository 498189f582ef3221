//! A living row with the name of a node that starts.

use std::time::Duration;

use super::{Polls, Watch};
use crate::moment::Moment;
use crate::table::NodeRow;

/// How many leases a newcomer waits for a namesake to be over if the table doesn't answer in between.
const LEASES_MAX: u32 = 4;

/// A living row with the name of a node that starts. The newcomer waits until it is dead, or declares it dead once its beat stood still
/// for a lease.
#[derive(Clone, Debug)]
pub struct Namesake {
    row: NodeRow,
    lease: Duration,
    begun: Moment,
    last: Option<Moment>,
    polls: Polls,
    watch: Watch,
}

/// What a newcomer does about its namesake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamesakeState {
    /// It polls the table again.
    Waits,
    /// The namesake is dead. The newcomer takes its name.
    Over,
    /// The namesake renews its lease. The newcomer is refused.
    Runs(NodeRow),
    /// The table is to be asked to declare the row dead. Then it is polled again.
    Expired(NodeRow),
}

impl Namesake {
    /// A row that the table answered with now.
    #[must_use]
    pub fn new(row: NodeRow, lease: Duration, now: Moment) -> Self {
        let (polls, watch) = (Polls::new(lease, now), Watch::new(row.beat, now));
        Self { row, lease, begun: now, last: Some(now), polls, watch }
    }

    /// When the table is polled next.
    #[must_use]
    pub fn next(&self) -> Moment {
        self.polls.next()
    }

    /// A poll is sent now. Returns how long its answer is waited for.
    pub fn sent(&mut self, now: Moment) -> Duration {
        self.polls.sent(now);
        self.polls.timeout()
    }

    /// Takes the rows of the table, which were asked for at one moment and came at another.
    pub fn polled(&mut self, rows: Vec<NodeRow>, sent_at: Moment, now: Moment) -> NamesakeState {
        let is_unbroken = self.last.replace(now).is_some_and(|last| Watch::is_unbroken(self.lease, last, now));
        let Some(row) = rows.into_iter().find(|row| row.id == self.row.id && !row.is_dead) else {
            return NamesakeState::Over;
        };
        if row.beat != self.row.beat {
            return NamesakeState::Runs(row);
        }
        self.watch.saw(row.beat, is_unbroken, now);
        if self.watch.is_over(self.lease, sent_at) { NamesakeState::Expired(row) } else { NamesakeState::Waits }
    }

    /// The table didn't answer. Returns whether the newcomer waits on nevertheless.
    pub fn poll_failed(&mut self, now: Moment) -> bool {
        self.last = None;
        now.since(self.begun) < self.lease * LEASES_MAX
    }
}
