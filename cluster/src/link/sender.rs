//! Another node, as who receives from it has it.

use super::receiving::{Delivery, ReceivingLane};
use crate::bus::Lane;
use crate::moment::Moment;
use crate::node::Epoch;

/// The two lanes of a sender that a node receives, and counts of them.
pub(super) struct Sender {
    /// The node that receives.
    me: Epoch,
    /// None until something is heard of it.
    all: Option<ReceivingLane>,
    own: ReceivingLane,
    pub(super) gaps: u64,
    pub(super) losses: u64,
}

impl Sender {
    pub(super) fn new(me: Epoch) -> Self {
        Self { me, all: None, own: ReceivingLane::new(1), gaps: 0, losses: 0 }
    }

    /// A lane, if it is received here. The lane to all begins with this number if nothing was heard of it before.
    pub(super) fn begin(&mut self, lane: Lane, number: u64) -> Option<&mut ReceivingLane> {
        if lane == Lane::All && self.all.is_none() {
            self.all = Some(ReceivingLane::new(number));
        }
        self.lane(lane)
    }

    /// A lane, if it is received here and was heard of before.
    pub(super) fn lane(&mut self, lane: Lane) -> Option<&mut ReceivingLane> {
        match lane {
            Lane::All => self.all.as_mut(),
            Lane::Node(node) => (node == self.me).then_some(&mut self.own),
        }
    }

    fn lanes(&self) -> impl Iterator<Item = &ReceivingLane> {
        self.all.iter().chain([&self.own])
    }

    /// Gives up gaps until at most so many bytes wait behind them.
    pub(super) fn give_up_over(&mut self, held_bytes_max: usize, out: &mut Vec<Delivery>) {
        while self.held_bytes() > held_bytes_max {
            // One of them has something, or nothing would be held.
            let is_in_all = self.all.as_mut().is_some_and(|all| all.give_up_first(out));
            if !is_in_all && !self.own.give_up_first(out) {
                return;
            }
        }
    }

    /// Counts gaps that weren't noticed before. Returns how many there are.
    pub(super) fn notice(&mut self, now: Moment) -> u64 {
        let lanes = self.all.iter_mut().chain([&mut self.own]);
        let gaps = lanes.map(|lane| u64::from(lane.notice(now))).sum();
        self.gaps += gaps;
        gaps
    }

    pub(super) fn ask_at(&self) -> Option<Moment> {
        self.lanes().filter_map(ReceivingLane::ask_at).min()
    }

    pub(super) fn behind(&self) -> u64 {
        self.lanes().map(ReceivingLane::behind).sum()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.lanes().map(ReceivingLane::held_bytes).sum()
    }
}
