//! What `bennu inspect` shows.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::channel::Node;
use crate::plugin::Shelf;
use crate::socket::Sockets;
use crate::transport::Overview;

/// The most topics that are listed, those with the most members first.
const TOPICS_SHOWN: usize = 1000;

/// Reads the counts of everything.
pub(super) struct HostOverview {
    pub(super) started: Instant,
    pub(super) node: Arc<Node>,
    pub(super) sockets: Arc<Sockets>,
    pub(super) shelf: Arc<Shelf>,
}

impl Overview for HostOverview {
    fn overview(&self) -> Value {
        let mut topics = self.node.pubsub.topics();
        let topic_count = topics.len();
        topics.sort_by(|(a, a_members), (b, b_members)| b_members.cmp(a_members).then_with(|| a.cmp(b)));
        topics.truncate(TOPICS_SHOWN);
        let shown: Vec<Value> =
            topics.iter().map(|(topic, members)| json!({ "topic": topic.as_str(), "members": members })).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "sockets": self.sockets.count(),
            "channels": self.node.channel_count(),
            "faults": self.node.fault_count(),
            "topic_count": topic_count,
            "topics": shown,
            "plugins": self.shelf.all(),
        })
    }
}
