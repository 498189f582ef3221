//! The lines of topics: of their letters, and of all their members for routes whose turns are the topic's.

use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::multiple::RefMulti;

use super::NodeLimits;
use super::line::Line;
use crate::protocol::Topic;

/// One line a topic, for as long as a channel stands in it or is worked on.
#[derive(Default)]
pub(super) struct Lines {
    topics: DashMap<Topic, Weak<Line>>,
}

/// A line's place among the others, left with its end.
pub(super) struct Place {
    lines: Weak<Lines>,
    topic: Topic,
}

impl Lines {
    /// The topic's line.
    pub(super) fn of(self: &Arc<Self>, topic: &Topic) -> Arc<Line> {
        let mut entry = self.topics.entry(topic.clone()).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let place = Place { lines: Arc::downgrade(self), topic: topic.clone() };
            let line = Arc::new(Line::placed(place));
            *entry = Arc::downgrade(&line);
            line
        })
    }

    /// Whether so many more letters, of so many bytes together, may wait for a topic.
    pub(super) fn has_room(&self, topic: &Topic, more: (usize, usize), limits: &NodeLimits) -> bool {
        let line = self.topics.get(topic).and_then(|line| line.upgrade());
        line.is_none_or(|line| line.has_room(more, limits))
    }

    /// Those that there are, each with its topic.
    pub(super) fn all(&self) -> Vec<(Topic, Arc<Line>)> {
        let line = |entry: RefMulti<'_, Topic, Weak<Line>>| Some((entry.key().clone(), entry.value().upgrade()?));
        self.topics.iter().filter_map(line).collect()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.topics.len()
    }
}

impl Place {
    pub(super) fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(lines) = self.lines.upgrade() {
            // A line that was made anew in between is alive, and stays.
            lines.topics.remove_if(&self.topic, |_, line| line.strong_count() == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shared_while_somebody_has_it_and_then_forgotten() {
        let lines = Arc::new(Lines::default());
        let topic = Topic::new("room:a");
        let (first, second) = (lines.of(&topic), lines.of(&topic));
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        assert_eq!(lines.count(), 1);
        drop(second);
        assert_eq!(lines.count(), 0);
    }
}
