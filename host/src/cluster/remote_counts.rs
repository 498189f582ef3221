//! How many members topics have at the other nodes, as these have told. A number may be a second old.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use bennu_cluster::Epoch;

use crate::protocol::Topic;

/// The most topics of one node. Further ones aren't counted.
pub(super) const TOPICS_MAX: usize = 1_000_000;

/// The numbers of members by node, and their sums.
#[derive(Debug, Default)]
pub(super) struct RemoteCounts {
    nodes: HashMap<Epoch, HashMap<Topic, u32>>,
    /// The sum of each topic that has members at another node.
    sums: BTreeMap<Topic, usize>,
}

impl RemoteCounts {
    /// Applies what a node has told. With `is_first`, topics that aren't named from now on have no members there. Returns how many
    /// topics were left out, because the node has too many.
    pub(super) fn apply(&mut self, from: Epoch, is_first: bool, counts: Vec<(Topic, u32)>) -> usize {
        if is_first {
            self.forget(from);
        }
        let topics = self.nodes.entry(from).or_default();
        let mut left_out = 0;
        for (topic, members) in counts {
            if topics.len() >= TOPICS_MAX && members > 0 && !topics.contains_key(&topic) {
                left_out += 1;
                continue;
            }
            let before = if members == 0 { topics.remove(&topic) } else { topics.insert(topic.clone(), members) };
            add(&mut self.sums, topic, before.unwrap_or(0), members);
        }
        left_out
    }

    /// Forgets what a node has told.
    pub(super) fn forget(&mut self, gone: Epoch) {
        for (topic, members) in self.nodes.remove(&gone).into_iter().flatten() {
            add(&mut self.sums, topic, members, 0);
        }
    }

    /// The number of a topic's members at the other nodes.
    #[must_use]
    pub(super) fn count(&self, topic: &str) -> usize {
        self.sums.get(topic).copied().unwrap_or(0)
    }

    /// The nodes that have members of a topic.
    pub(super) fn nodes_with(&self, topic: &Topic) -> impl Iterator<Item = Epoch> {
        self.nodes.iter().filter(move |(_, topics)| topics.contains_key(topic)).map(|(node, _)| *node)
    }

    /// Up to `limit` topics that begin with `prefix` and come after `after`, in order, each with its number of members at the
    /// other nodes.
    #[must_use]
    pub(super) fn under(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<(Topic, usize)> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let found = self.sums.range::<str, _>((from, Bound::Unbounded));
        let found = found.take_while(|(topic, _)| topic.as_str().starts_with(prefix));
        found.take(limit).map(|(topic, members)| (topic.clone(), *members)).collect()
    }

    /// The number of topics that have members at other nodes.
    #[must_use]
    pub(super) fn topics(&self) -> usize {
        self.sums.len()
    }
}

/// Changes the sum of a topic by what one node has.
fn add(sums: &mut BTreeMap<Topic, usize>, topic: Topic, before: u32, now: u32) {
    let sum = sums.get(&topic).copied().unwrap_or(0) - before as usize + now as usize;
    if sum == 0 {
        sums.remove(&topic);
    } else {
        sums.insert(topic, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, u32)]) -> Vec<(Topic, u32)> {
        of.iter().map(|(topic, members)| (Topic::new(topic), *members)).collect()
    }

    fn under(remote: &RemoteCounts, prefix: &str, after: Option<&str>, limit: usize) -> Vec<(String, usize)> {
        remote.under(prefix, after, limit).into_iter().map(|(topic, members)| (topic.to_string(), members)).collect()
    }

    #[test]
    fn the_sums_follow_what_each_node_tells() {
        let (mut remote, one, two) = (RemoteCounts::default(), Epoch(1), Epoch(2));
        remote.apply(one, true, counts(&[("room:a", 2), ("room:b", 1)]));
        remote.apply(two, true, counts(&[("room:a", 3), ("hall", 1)]));
        assert_eq!((remote.count("room:a"), remote.count("room:b"), remote.count("none")), (5, 1, 0));
        assert_eq!(remote.nodes_with(&Topic::new("room:b")).collect::<Vec<_>>(), [one]);
        assert_eq!(
            (remote.nodes_with(&Topic::new("room:a")).count(), remote.nodes_with(&Topic::new("c")).count()),
            (2, 0)
        );
        remote.apply(one, false, counts(&[("room:a", 1), ("room:b", 0)]));
        assert_eq!((remote.count("room:a"), remote.count("room:b"), remote.topics()), (4, 0, 2));
        // A whole list replaces what its node told before, and nothing of others.
        remote.apply(one, true, counts(&[("room:c", 7)]));
        assert_eq!((remote.count("room:a"), remote.count("room:c")), (3, 7));
        remote.forget(two);
        remote.forget(one);
        assert_eq!(remote.topics(), 0);
    }

    #[test]
    fn topics_are_listed_in_order_with_a_prefix_from_a_place() {
        let mut remote = RemoteCounts::default();
        remote.apply(Epoch(1), true, counts(&[("room:a", 1), ("room:b", 2), ("room:c", 3), ("roof", 1), ("rooms", 1)]));
        let all = [("room:a".to_owned(), 1), ("room:b".to_owned(), 2), ("room:c".to_owned(), 3)];
        assert_eq!(under(&remote, "room:", None, 9), all);
        assert_eq!(under(&remote, "room:", Some("room:a"), 1), all[1..2]);
        assert_eq!(under(&remote, "room:", Some("a"), 9), all);
        assert!(under(&remote, "room:", Some("room:c"), 9).is_empty());
    }
}
