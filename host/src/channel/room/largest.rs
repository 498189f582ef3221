//! The largest rooms of a host.

use std::sync::Arc;

use super::topics::Topics;
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

/// So many rooms are looked at before other tasks of the thread may run.
const ROOMS_AT_ONCE: usize = 1000;

impl RoomSize {
    /// The bytes of its state and its entries, as far as they are known.
    fn bytes(&self) -> u64 {
        let entries = self.entries.unwrap_or_default();
        self.room_bytes as u64 + entries.sums.map_or(entries.dirty_bytes, |sums| sums.bytes)
    }
}

/// The open rooms with the most bytes, at most `most`, from the largest on.
pub(in crate::channel) async fn largest_rooms(topics: &Arc<Topics>, most: usize) -> Vec<RoomSize> {
    let mut largest = Vec::new();
    for part in topics.all().chunks(ROOMS_AT_ONCE) {
        largest.extend(part.iter().filter_map(|topic| topic.room().as_ref().map(|room| room.size(&topic.name))));
        largest
            .sort_by(|a: &RoomSize, b| b.bytes().cmp(&a.bytes()).then_with(|| a.topic.as_str().cmp(b.topic.as_str())));
        largest.truncate(most);
        tokio::task::yield_now().await;
    }
    largest
}
