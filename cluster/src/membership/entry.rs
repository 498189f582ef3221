//! A node that is known.

use super::Watch;
use crate::moment::Moment;
use crate::table::NodeRow;

pub(super) struct NodeEntry {
    pub(super) row: NodeRow,
    pub(super) watch: Watch,
    pub(super) heard: Option<Moment>,
    pub(super) is_silent: bool,
}

impl NodeEntry {
    pub(super) fn new(row: NodeRow, now: Moment) -> Self {
        Self { watch: Watch::new(row.beat, now), row, heard: None, is_silent: false }
    }
}
