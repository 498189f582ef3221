//! Questions of commands about a running host.

use std::sync::Arc;

use crate::channel::Node;
use crate::plugin::{PluginStatus, PluginStatuses};
use crate::protocol::Pattern;

/// A handle on the plugins of a host and their members.
#[derive(Clone)]
pub struct Overview {
    node: Arc<Node>,
    statuses: Arc<PluginStatuses>,
}

impl Overview {
    pub(super) fn new(node: Arc<Node>, statuses: Arc<PluginStatuses>) -> Self {
        Self { node, statuses }
    }

    /// Returns how many members the topics of these patterns have.
    #[must_use]
    pub fn members(&self, patterns: &[Pattern]) -> usize {
        let topics = self.node.pubsub.topics();
        let is_of = |topic: &str| patterns.iter().any(|pattern| pattern.matches(topic));
        topics.iter().filter(|(topic, _)| is_of(topic.as_str())).map(|(_, members)| members).sum()
    }

    /// Returns the status of a plugin.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Option<PluginStatus> {
        self.statuses.one(name)
    }
}
