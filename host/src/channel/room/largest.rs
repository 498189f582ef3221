//! The largest rooms of a host.

use std::sync::Arc;

use super::size::RoomSize;
use super::topics::Topics;

/// So many rooms are looked at before other tasks of the thread may run.
const ROOMS_AT_ONCE: usize = 1000;

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
