//! The lines that all members of a topic share, for routes whose turns are the topic's.

use std::sync::{Arc, Weak};

use dashmap::DashMap;

use super::line::Line;
use crate::protocol::Topic;

/// One line a topic, for as long as a channel stands in it.
#[derive(Default)]
pub(super) struct Lines {
    topics: DashMap<Topic, Weak<Line>>,
}

impl Lines {
    /// The topic's line.
    pub(super) fn of(&self, topic: &Topic) -> Arc<Line> {
        let mut entry = self.topics.entry(topic.clone()).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let line = Arc::new(Line::default());
            *entry = Arc::downgrade(&line);
            line
        })
    }

    /// Forgets the topic's line if nobody stands in it.
    pub(super) fn release(&self, topic: &Topic) {
        self.topics.remove_if(topic, |_, line| line.strong_count() == 0);
    }
}
