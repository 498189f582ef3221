//! The lines of topics: of their letters, and of all their members for routes whose turns are the topic's.

use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::multiple::RefMulti;

use super::NodeLimits;
use super::turn_queue::TurnQueue;
use crate::protocol::Topic;

/// One line a topic, for as long as a channel stands in it or is worked on.
#[derive(Default)]
pub(super) struct TurnQueues {
    topics: DashMap<Topic, Weak<TurnQueue>>,
}

/// A line's place among the others, left with its end.
pub(super) struct QueueEntry {
    queues: Weak<TurnQueues>,
    topic: Topic,
}

impl TurnQueues {
    /// The topic's line.
    pub(super) fn of(self: &Arc<Self>, topic: &Topic) -> Arc<TurnQueue> {
        let mut entry = self.topics.entry(topic.clone()).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let place = QueueEntry { queues: Arc::downgrade(self), topic: topic.clone() };
            let queue = Arc::new(TurnQueue::placed(place));
            *entry = Arc::downgrade(&queue);
            queue
        })
    }

    /// Whether so many more letters, of so many bytes together, may wait for a topic.
    pub(super) fn has_room(&self, topic: &Topic, more: (usize, usize), limits: &NodeLimits) -> bool {
        let queue = self.topics.get(topic).and_then(|queue| queue.upgrade());
        queue.is_none_or(|queue| queue.has_room(more, limits))
    }

    /// Those that there are, each with its topic.
    pub(super) fn all(&self) -> Vec<(Topic, Arc<TurnQueue>)> {
        let queue = |entry: RefMulti<'_, Topic, Weak<TurnQueue>>| Some((entry.key().clone(), entry.value().upgrade()?));
        self.topics.iter().filter_map(queue).collect()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.topics.len()
    }
}

impl QueueEntry {
    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        if let Some(queues) = self.queues.upgrade() {
            // A line that was made anew in between is alive, and stays.
            queues.topics.remove_if(&self.topic, |_, queue| queue.strong_count() == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shared_while_somebody_has_it_and_then_forgotten() {
        let queues = Arc::new(TurnQueues::default());
        let topic = Topic::new("room:a");
        let (first, second) = (queues.of(&topic), queues.of(&topic));
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        assert_eq!(queues.count(), 1);
        drop(second);
        assert_eq!(queues.count(), 0);
    }
}
