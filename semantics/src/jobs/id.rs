//! The identity of a job.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::Topic;

/// What a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// A message to a topic, at a time that a plugin chose.
    Schedule,
    /// A message to a topic, at the times of a line of the configuration.
    Cron,
    /// A message to the topic whose delivery was refused or given up. Its key is the id of the delivery.
    Undelivered,
}

impl JobKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Schedule, Self::Cron, Self::Undelivered];

    /// Its name in exports and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Cron => "cron",
            Self::Undelivered => "undelivered",
        }
    }

    /// Its number in the store.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Schedule => 0,
            Self::Cron => 1,
            Self::Undelivered => 2,
        }
    }

    /// The kind with this number in the store.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// The identity of a job. A job replaces an earlier one with the same identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// The name under which the data of its plugin is stored. Usually it is the plugin's name.
    pub plugin: Arc<str>,
    /// What it is.
    pub kind: JobKind,
    /// The topic that it is about.
    pub topic: Topic,
    /// Its key, unique in the topic among the jobs of its kind and plugin.
    pub key: Box<str>,
}

/// The bytes of a job's name before its topic: the number of its kind, and the length of the topic.
const HEAD: usize = 1 + size_of::<u16>();

impl JobId {
    /// Its name in the store, without the plugin.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        Self::name_of(self.kind, self.topic.as_str(), &self.key)
    }

    /// The name of a job in the store, without the plugin.
    #[must_use]
    pub fn name_of(kind: JobKind, topic: &str, key: &str) -> Vec<u8> {
        // The topic is checked before a job is written. A longer topic has no jobs.
        let length = u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes();
        [&[kind.number()], &length[..], topic.as_bytes(), key.as_bytes()].concat()
    }

    /// Reads a name of the store. `None` if it is damaged, or of a kind that this version doesn't know.
    #[must_use]
    pub fn read(plugin: Arc<str>, name: &[u8]) -> Option<Self> {
        let (head, rest) = name.split_at_checked(HEAD)?;
        let (topic, key) = rest.split_at_checked(usize::from(u16::from_be_bytes([head[1], head[2]])))?;
        let (topic, key) = (std::str::from_utf8(topic).ok()?, std::str::from_utf8(key).ok()?);
        Some(Self { plugin, kind: JobKind::from_number(head[0])?, topic: Topic::new(topic), key: key.into() })
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plugin, kind, topic, key } = self;
        write!(f, "the {} {key:?} of {topic:?} (plugin {plugin:?})", kind.as_str(), topic = topic.as_str())
    }
}
