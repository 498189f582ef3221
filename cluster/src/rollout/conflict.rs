//! Patterns of topics that two plugins want.

use std::collections::BTreeSet;
use std::fmt;

use super::record::Records;

/// A pattern of topics that a plugin can't have, because another one serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicConflict {
    /// The pattern.
    pub topic: String,
    /// The plugin that has it.
    pub owner: String,
}

impl TopicConflict {
    /// Finds a pattern of a plugin's build that another plugin serves. Those in `changing` don't count: they get other builds at the same
    /// time.
    pub(super) fn find(records: &Records, plugin: &str, topics: &[String], changing: &BTreeSet<&str>) -> Option<Self> {
        let others = records.iter().filter(|(other, _)| *other != plugin && !changing.contains(other.as_str()));
        others.filter_map(|(other, record)| Some((other, record.serving.as_ref()?))).find_map(|(other, serving)| {
            let topic = topics.iter().find(|topic| serving.build.topics.contains(topic))?;
            Some(Self { topic: topic.clone(), owner: other.clone() })
        })
    }
}

impl fmt::Display for TopicConflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, owner } = self;
        write!(
            formatter,
            "the pattern `{topic}` already belongs to the plugin `{owner}`; give one of them another topic"
        )
    }
}
