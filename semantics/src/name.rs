//! Names of topics, and the patterns that match them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

/// The most bytes of a topic, an event or a status. A binary frame stores each length in one byte. Text frames have the
/// same limit, so that both can carry every message.
pub const NAME_BYTES_MAX: usize = 255;

/// The most bytes of a ref's JSON text. It is limited because every frame of a channel repeats the ref of its join.
pub const REF_BYTES_MAX: usize = 255;

/// A topic, such as `room:lobby`: the unit of a broadcast. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(from = "String")]
pub struct Topic(Arc<str>);

impl Topic {
    /// A topic with this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Its name.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Topic {
    fn from(name: String) -> Self {
        Self(Arc::from(name))
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The topics of a route: one topic, or all topics with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// This topic only.
    Exact(Box<str>),
    /// Every topic with this prefix; the rest may be empty. It is written with a star at the end.
    Prefix(Box<str>),
}

/// The reason why a text isn't a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It is empty.
    Empty,
    /// It has a star before its end.
    InnerStar,
    /// It has more than [`NAME_BYTES_MAX`] bytes.
    TooLong,
    /// It is `phoenix`, the topic of the protocol's heartbeat.
    Reserved,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "it is empty; give a topic such as `lobby` or a prefix such as `room:*`"),
            Self::InnerStar => write!(f, "a star may stand only at the end, as in `room:*`"),
            Self::TooLong => write!(f, "it is longer than {NAME_BYTES_MAX} bytes"),
            Self::Reserved => write!(f, "the topic `phoenix` belongs to the protocol's heartbeat"),
        }
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// If the text isn't a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        let (stem, is_prefix) = text.strip_suffix('*').map_or((text, false), |stem| (stem, true));
        if stem.contains('*') {
            return Err(PatternError::InnerStar);
        }
        if text == "phoenix" {
            return Err(PatternError::Reserved);
        }
        Ok(if is_prefix { Self::Prefix(stem.into()) } else { Self::Exact(stem.into()) })
    }

    /// Whether `topic` is one of its topics.
    #[must_use]
    #[inline]
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Exact(name) => &**name == topic,
            Self::Prefix(prefix) => topic.starts_with(&**prefix),
        }
    }
}

impl Pattern {
    /// Whether every topic of another pattern is one of its topics.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        match other {
            Self::Exact(name) => self.matches(name),
            Self::Prefix(prefix) => self.matches_all(prefix),
        }
    }

    /// Whether every topic that starts with `prefix` is one of its topics.
    #[must_use]
    pub fn matches_all(&self, prefix: &str) -> bool {
        matches!(self, Self::Prefix(granted) if prefix.starts_with(&**granted))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_phoenix() {
        let cases = [
            ("room:*", "room:lobby", true),
            ("room:*", "room:", true),
            ("room:*", "room", false),
            ("*", "anything", true),
            ("lobby", "lobby", true),
            ("lobby", "lobby:1", false),
        ];
        for (pattern, topic, expected) in cases {
            assert_eq!(Pattern::parse(pattern).map(|p| p.matches(topic)), Ok(expected), "{pattern} and {topic}");
        }
    }

    #[test]
    fn an_invalid_pattern_is_refused_with_the_reason() {
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
        assert_eq!(Pattern::parse("a*b"), Err(PatternError::InnerStar));
        assert_eq!(Pattern::parse("a**"), Err(PatternError::InnerStar));
        assert_eq!(Pattern::parse("phoenix"), Err(PatternError::Reserved));
        assert_eq!(Pattern::parse(&"x".repeat(256)), Err(PatternError::TooLong));
    }
}
