//! The topics that a loss of messages concerns.

use std::collections::HashSet;

use super::messages::DROPPED_MAX;

/// Some topics, by the hashes of their names, or all topics. A topic whose hash is the same as that of another one is affected
/// together with it, which does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AffectedTopics {
    /// All topics.
    All,
    /// The topics with these hashes.
    Hashed(HashSet<u64>),
}

impl AffectedTopics {
    /// No topic.
    #[must_use]
    pub fn none() -> Self {
        Self::Hashed(HashSet::new())
    }

    /// Adds a topic. With too many of them, all topics count as affected.
    pub fn add(&mut self, topic: &str) {
        self.add_hash(hash(topic));
    }

    fn add_hash(&mut self, hash: u64) {
        if let Self::Hashed(hashes) = self {
            hashes.insert(hash);
            if hashes.len() > DROPPED_MAX {
                *self = Self::All;
            }
        }
    }

    /// Adds other topics.
    pub fn merge(&mut self, other: Self) {
        match other {
            Self::All => *self = Self::All,
            Self::Hashed(hashes) => hashes.into_iter().for_each(|hash| self.add_hash(hash)),
        }
    }

    /// Whether a topic is affected.
    #[must_use]
    pub fn has(&self, topic: &str) -> bool {
        match self {
            Self::All => true,
            Self::Hashed(hashes) => hashes.contains(&hash(topic)),
        }
    }

    /// Whether no topic is affected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Hashed(hashes) if hashes.is_empty())
    }

    /// As it is sent: none for all topics.
    #[must_use]
    pub fn hashes(&self) -> Option<Vec<u64>> {
        match self {
            Self::All => None,
            Self::Hashed(hashes) => Some(hashes.iter().copied().collect()),
        }
    }
}

impl From<Option<Vec<u64>>> for AffectedTopics {
    fn from(hashes: Option<Vec<u64>>) -> Self {
        hashes.map_or(Self::All, |hashes| Self::Hashed(hashes.into_iter().collect()))
    }
}

/// The FNV-1a hash of 64 bits. All nodes must agree on it, even if they are built differently.
fn hash(topic: &str) -> u64 {
    topic.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_affected_by_name_until_there_are_too_many() {
        let mut affected = AffectedTopics::none();
        assert!(affected.is_empty() && !affected.has("room:a"));
        affected.add("room:a");
        let received = AffectedTopics::from(affected.hashes());
        assert!(received.has("room:a") && !received.has("room:b"));
        let mut many = AffectedTopics::none();
        (0..=DROPPED_MAX).for_each(|at| many.add(&at.to_string()));
        assert_eq!(many, AffectedTopics::All);
        affected.merge(many);
        assert!(affected.has("room:b") && affected.hashes().is_none());
    }
}
