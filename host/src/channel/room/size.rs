//! The sizes of an open room.

use crate::entries::{EntriesSize, RollbackState};
use crate::protocol::Topic;

/// The sizes of an open room.
#[derive(Clone, Debug)]
pub struct RoomSize {
    /// Its topic.
    pub topic: Topic,
    /// The plugin that it belongs to.
    pub plugin: String,
    /// Whether it is durable.
    pub is_durable: bool,
    /// The bytes of its state.
    pub room_bytes: usize,
    /// The sizes of its entries. None if its plugin has no entries.
    pub entries: Option<EntriesSize>,
    /// Whether a rollback of its build would roll it back, and its entries. None if no build on probation has upgraded it.
    pub rollback: Option<RollbackState>,
}

impl RoomSize {
    /// The bytes of its state and its entries, as far as they are known.
    pub(in crate::channel::room) fn bytes(&self) -> u64 {
        let entries = self.entries.unwrap_or_default();
        self.room_bytes as u64 + entries.sums.map_or(entries.dirty_bytes, |sums| sums.bytes)
    }
}
