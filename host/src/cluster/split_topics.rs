//! Sticky topics that several nodes serve.
//!
//! All clients of a sticky topic must be at one node, and a balancer has to do that. If it doesn't, the nodes don't know of each other's
//! turns: each of them has a room of its own. But the nodes tell each other the numbers of members, so each of them notices it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bennu_cluster::{Epoch, NodePresence, NodeStatus, named};
use tokio::time::Instant;

use super::peers::{Peers, lock};
use crate::protocol::Topic;
use crate::pubsub::PubSub;

/// How long a topic has members at several nodes before it counts as split. A client that moves to another node is counted at both for a
/// moment: numbers are told each second, and those of a node that was killed count until it isn't heard.
const SPLIT_AFTER: Duration = Duration::from_secs(5);

/// The time between two lines of the log.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The most topics that are watched. A further one isn't noticed while there are so many others.
const WATCHED_TOPICS_MAX: usize = 1_024;

/// How long ago a node was heard at most whose numbers of members say what is so now. Each node sends something each second.
const HEARD_LATELY: Duration = Duration::from_secs(2);

/// The sticky topics that had members at this node and at another one when a number of members changed.
#[derive(Debug, Default)]
pub(super) struct SplitTopics {
    watched: BTreeMap<Topic, WatchedTopic>,
    /// How many of them are split.
    split: usize,
    /// When a line was logged last.
    warned_at: Option<Instant>,
}

#[derive(Debug)]
struct WatchedTopic {
    since: Instant,
    is_split: bool,
}

/// What was found by a look at the topics.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SplitFound {
    /// How many topics have become split.
    pub(super) newly_split: usize,
    /// The split topics, if a line of the log is due.
    pub(super) warning: Option<String>,
}

impl SplitTopics {
    /// Watches sticky topics that have members at this node and at another one.
    pub(super) fn watch(&mut self, topics: impl IntoIterator<Item = Topic>, now: Instant) {
        for topic in topics {
            if self.watched.len() < WATCHED_TOPICS_MAX || self.watched.contains_key(&topic) {
                self.watched.entry(topic).or_insert(WatchedTopic { since: now, is_split: false });
            }
        }
    }

    /// The watched topics.
    fn watched(&self) -> Vec<Topic> {
        self.watched.keys().cloned().collect()
    }

    /// Looks at the watched topics, each second. `elsewhere` returns the names of the other nodes that have members of a topic and keep
    /// them. It returns none if this node or all others have no members: then the topic isn't watched any more.
    pub(super) fn look(&mut self, now: Instant, elsewhere: impl Fn(&Topic) -> Option<Vec<String>>) -> SplitFound {
        let mut newly_split = 0;
        self.watched.retain(|topic, watched| {
            let Some(nodes) = elsewhere(topic) else { return false };
            if nodes.is_empty() {
                *watched = WatchedTopic { since: now, is_split: false };
                return true;
            }
            if now.saturating_duration_since(watched.since) >= SPLIT_AFTER {
                newly_split += usize::from(!std::mem::replace(&mut watched.is_split, true));
            }
            true
        });
        self.split = self.watched.values().filter(|watched| watched.is_split).count();
        let is_due = self.warned_at.is_none_or(|at| now.saturating_duration_since(at) >= WARN_EVERY);
        let warning = (is_due && self.split > 0).then(|| {
            self.warned_at = Some(now);
            let split = self.watched.iter().filter(|(_, watched)| watched.is_split);
            // Debug notation, because clients choose the names of topics.
            let shown = |topic: &Topic| Some(format!("{:?} ({})", topic.as_str(), elsewhere(topic)?.join(", ")));
            named(&split.filter_map(|(topic, _)| shown(topic)).collect::<Vec<_>>())
        });
        SplitFound { newly_split, warning }
    }

    /// How many sticky topics are split.
    #[must_use]
    pub(super) fn split(&self) -> usize {
        self.split
    }
}

impl Peers {
    /// How many sticky topics have members at this node and at another one.
    #[must_use]
    pub fn split_topics(&self) -> usize {
        lock(&self.split_topics).split()
    }

    /// Watches those of some sticky topics that have members at this node and at another one. The task that calls this also calls
    /// [`Self::look_for_split_topics`].
    pub(super) fn watch_for_split(&self, sticky: Vec<Topic>, pubsub: &PubSub) {
        let here = sticky.into_iter().filter(|topic| has_members(pubsub, topic)).collect::<Vec<_>>();
        if here.is_empty() {
            return;
        }
        let counts = self.remote_counts();
        let here_and_elsewhere = here.into_iter().filter(|topic| counts.count(topic.as_str()) > 0).collect::<Vec<_>>();
        drop(counts);
        lock(&self.split_topics).watch(here_and_elsewhere, Instant::now());
    }

    /// Looks which sticky topics have had members at several nodes for some seconds, each second.
    pub(super) fn look_for_split_topics(&self, pubsub: &PubSub) {
        let watched = lock(&self.split_topics).watched();
        if watched.is_empty() {
            return;
        }
        let here: Vec<Topic> = watched.into_iter().filter(|topic| has_members(pubsub, topic)).collect();
        let nodes = self.link.nodes();
        let names = keepers(self.link.me(), &nodes);
        let counts = self.remote_counts();
        let names_of = |topic: &Topic| {
            let nodes = counts.nodes_with(topic).filter_map(|node| names.get(&node)).map(|name| (*name).to_owned());
            let mut nodes: Vec<String> = nodes.collect();
            nodes.sort_unstable();
            nodes
        };
        let here_and_elsewhere = here.iter().filter(|topic| counts.count(topic.as_str()) > 0);
        let elsewhere: HashMap<Topic, Vec<String>> =
            here_and_elsewhere.map(|topic| (topic.clone(), names_of(topic))).collect();
        drop(counts);
        let found = lock(&self.split_topics).look(Instant::now(), |topic| elsewhere.get(topic).cloned());
        self.counters.topics_split.add(found.newly_split as u64);
        if let Some(topics) = found.warning {
            tracing::warn!(
                "topics_split: sticky topics have members at this node and at others, so each of these nodes has a room or turns of its \
                 own: {topics}; a balancer has to send all clients of such a topic to one node"
            );
        }
    }
}

fn has_members(pubsub: &PubSub, topic: &Topic) -> bool {
    pubsub.audience(topic.as_str()).is_some_and(|audience| !audience.is_empty())
}

/// The names of the other nodes with which a topic can be split. There are none while this node stops: its own clients are about to move,
/// and those that come for the topic are at another node already.
fn keepers(me: Epoch, nodes: &[NodeStatus]) -> HashMap<Epoch, &str> {
    if nodes.iter().any(|node| node.row.id.epoch == me && node.row.is_draining) {
        return HashMap::new();
    }
    let keepers = nodes.iter().filter(|node| keeps_members(node));
    keepers.map(|node| (node.row.id.epoch, node.row.name.as_str())).collect()
}

/// Whether the members of another node stay there, as far as it is known: it is heard, and doesn't stop. The clients of all others are
/// about to move.
fn keeps_members(node: &NodeStatus) -> bool {
    let is_heard = node.heard_ago.is_some_and(|ago| ago <= HEARD_LATELY);
    node.presence == NodePresence::Up && is_heard && !node.row.is_draining
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_two(_: &Topic) -> Option<Vec<String>> {
        Some(vec!["two".to_owned()])
    }

    fn nowhere(_: &Topic) -> Option<Vec<String>> {
        None
    }

    #[test]
    fn a_topic_is_split_after_a_while_and_is_counted_and_named_once() {
        let (mut topics, start, second) = (SplitTopics::default(), Instant::now(), Duration::from_secs(1));
        topics.watch([Topic::new("game:1")], start);
        assert_eq!(topics.look(start + second, at_two), SplitFound::default());
        // A client that has moved.
        topics.look(start + 2 * second, nowhere);
        topics.watch([Topic::new("game:1"), Topic::new("hall")], start + 3 * second);
        for at in 3..8 {
            // Whoever joins changes nothing of the time.
            topics.watch([Topic::new("game:1")], start + at * second);
            assert_eq!(topics.look(start + at * second, at_two), SplitFound::default());
        }
        let found = topics.look(start + 8 * second, at_two);
        assert_eq!((found.newly_split, found.warning.as_deref()), (2, Some("\"game:1\" (two), \"hall\" (two)")));
        assert_eq!(topics.look(start + 9 * second, at_two), SplitFound::default());
        assert_eq!(topics.split(), 2);
        let later = topics.look(start + 68 * second, at_two);
        assert!(later.newly_split == 0 && later.warning.is_some(), "{later:?}");
        topics.look(start + 69 * second, nowhere);
        assert_eq!((topics.split(), topics.watched.len()), (0, 0));
    }

    /// Its members may be about to move: the other node isn't heard, or stops.
    #[test]
    fn a_topic_at_a_node_that_may_not_keep_it_is_watched_on() {
        let (mut topics, start, second) = (SplitTopics::default(), Instant::now(), Duration::from_secs(1));
        topics.watch([Topic::new("game:1")], start);
        assert_eq!(topics.look(start + SPLIT_AFTER, |_| Some(Vec::new())), SplitFound::default());
        assert_eq!(topics.look(start + SPLIT_AFTER + 4 * second, at_two), SplitFound::default());
        assert_eq!(topics.look(start + 2 * SPLIT_AFTER, at_two).newly_split, 1);
        topics.look(start + 2 * SPLIT_AFTER + second, |_| Some(Vec::new()));
        assert_eq!((topics.split(), topics.watched().len()), (0, 1));
    }

    #[test]
    fn a_line_names_some_topics_and_the_number_of_topics_is_bounded() {
        let (mut topics, start) = (SplitTopics::default(), Instant::now());
        topics.watch((0..2 * WATCHED_TOPICS_MAX).map(|at| Topic::new(&format!("game:{at:04}"))), start);
        let found = topics.look(start + SPLIT_AFTER, |_| Some(vec!["two".to_owned(), "three".to_owned()]));
        assert_eq!((found.newly_split, topics.split()), (WATCHED_TOPICS_MAX, WATCHED_TOPICS_MAX));
        let named = found.warning.expect("a line");
        assert!(named.starts_with("\"game:0000\" (two, three), ") && named.ends_with(" and 1021 more"), "{named}");
    }
}
