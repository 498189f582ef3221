//! What a host announces to the others each second: how far its presences are, which topics its streams of events watch, and the numbers
//! of members that have changed.

use std::sync::Arc;
use std::time::Duration;

use bennu_cluster::Lane;

use super::messages::{COUNTS_MAX, MessageBody, WATCHED_MAX};
use super::peers::{Changed, Peers};
use crate::channel::Node;
use crate::protocol::{Pattern, Topic};

/// The time between two calls of [`Announcer::announce`].
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// The bytes of the names of topics in one message of counts.
const COUNT_BYTES: usize = 256 << 10;

/// Announces to the other nodes what has changed.
pub struct Announcer {
    node: Arc<Node>,
    peers: Arc<Peers>,
    /// The patterns that the other nodes know.
    watched: Vec<Pattern>,
}

impl Announcer {
    /// Nothing was announced yet.
    #[must_use]
    pub fn new(node: Arc<Node>, peers: Arc<Peers>) -> Self {
        Self { node, peers, watched: Vec::new() }
    }

    /// Announces what has changed since the last call. What can't be sent is announced by the next one.
    pub fn announce(&mut self) {
        self.peers.announce_dropped();
        let clocks = Box::new(self.node.presence.clocks());
        // The next clocks say the same.
        let _ = self.peers.send(Lane::All, MessageBody::Clocks(clocks));
        let changed = std::mem::take(&mut *self.peers.changed());
        self.peers.watch_for_split(self.peers.sticky(changed.topics.iter()), &self.node.pubsub);
        self.peers.look_for_split_topics(&self.node.pubsub);
        let is_sent = self.announce_watched(changed.is_whole) && self.announce_counts(&changed);
        if !is_sent {
            self.peers.changed().is_whole = true;
        }
    }

    /// Announces which topics are watched here.
    fn announce_watched(&mut self, is_whole: bool) -> bool {
        let mut watched = self.node.pubsub.events.watched();
        watched.truncate(WATCHED_MAX);
        if watched == self.watched && (watched.is_empty() || !is_whole) {
            return true;
        }
        let is_sent = self.peers.send(Lane::All, MessageBody::Watched(watched.clone())).is_ok();
        if is_sent {
            self.watched = watched;
        }
        is_sent
    }

    /// Announces the numbers of members. They are sent to all nodes, also if only one of them knows none: so they come after the
    /// numbers that were announced before.
    fn announce_counts(&self, changed: &Changed) -> bool {
        let pubsub = &self.node.pubsub;
        let counted = |topic: &Topic| pubsub.audience(topic.as_str()).map_or(0, |audience| audience.len());
        let counts: Vec<(Topic, u32)> = if changed.is_whole {
            pubsub.topics().into_iter().map(|(topic, members)| (topic, number(members))).collect()
        } else {
            changed.topics.iter().map(|topic| (topic.clone(), number(counted(topic)))).collect()
        };
        if counts.is_empty() && !changed.is_whole {
            return true;
        }
        let mut is_first = changed.is_whole;
        parts(counts).all(|counts| {
            let is_first = std::mem::take(&mut is_first);
            self.peers.send(Lane::All, MessageBody::Counts { is_first, counts }).is_ok()
        })
    }
}

fn number(members: usize) -> u32 {
    u32::try_from(members).unwrap_or(u32::MAX)
}

/// Divides counts into messages. There is at least one.
fn parts(counts: Vec<(Topic, u32)>) -> impl Iterator<Item = Vec<(Topic, u32)>> {
    let (mut counts, mut is_first) = (counts.into_iter().peekable(), true);
    std::iter::from_fn(move || {
        let (mut part, mut bytes) = (Vec::new(), 0);
        while part.len() < COUNTS_MAX
            && let Some(next) =
                counts.next_if(|(topic, _)| part.is_empty() || bytes + topic.as_str().len() <= COUNT_BYTES)
        {
            bytes += next.0.as_str().len();
            part.push(next);
        }
        (std::mem::take(&mut is_first) || !part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_divided_by_number_and_by_bytes() {
        let lengths = |counts: Vec<(Topic, u32)>| parts(counts).map(|part| part.len()).collect::<Vec<_>>();
        let named = |count: usize, bytes: usize| {
            (0..count).map(|at| (Topic::new(&format!("{at:0>bytes$}")), 1)).collect::<Vec<_>>()
        };
        assert_eq!(lengths(Vec::new()), [0]);
        assert_eq!(lengths(named(COUNTS_MAX + 1, 8)), [COUNTS_MAX, 1]);
        let fitting = COUNT_BYTES / 1_000;
        assert_eq!(lengths(named(fitting + 2, 1_000)), [fitting, 2]);
    }
}
