//! The rules for the entries of a topic.

use std::sync::Arc;

use serde_json::Value;

use crate::limits::EntryLimits;
use crate::{Fault, read_value};

/// The rules for the entries of a topic: those of its route, and the limits.
#[derive(Clone, Debug, Default)]
pub struct EntryRules {
    /// The limits.
    pub limits: EntryLimits,
    /// The prefixes of published entries. No prefix begins with another one.
    pub publishes: Arc<[Box<str>]>,
    /// The version that this build writes.
    pub version: u32,
    /// Whether entries of other versions are upgraded when a callback reads them. Without it, values pass unchanged.
    pub has_upgrade: bool,
    /// The most bytes of old entries that a call keeps, for the before-images of a rollback point. If it is 0, a call keeps
    /// only those old entries that a published change needs, and that the table may lose.
    pub old_bytes: usize,
}

impl EntryRules {
    /// Whether an entry is published.
    #[must_use]
    #[inline]
    pub fn is_published(&self, key: &[u8]) -> bool {
        self.publishes.iter().any(|prefix| key.starts_with(prefix.as_bytes()))
    }

    /// Whether an entry that this version wrote has to be upgraded before a callback reads it.
    #[inline]
    pub(super) fn is_stale(&self, version: u32) -> bool {
        self.has_upgrade && version != self.version
    }

    /// Checks an entry. Returns the parsed value of a published one.
    #[inline]
    pub(super) fn check_published(&self, key: &[u8], value: &[u8]) -> Result<Option<Box<Value>>, Fault> {
        if self.is_published(key) {
            self.read_published(key, value).map(|value| Some(Box::new(value)))
        } else {
            Ok(None)
        }
    }

    /// Reads the value of a published entry.
    ///
    /// # Errors
    /// Fault: failed, if the key isn't UTF-8, or the value isn't the text of a JSON value, or is null.
    pub fn read_published(&self, key: &[u8], value: &[u8]) -> Result<Value, Fault> {
        let name = String::from_utf8_lossy(key);
        let refused = |why: &str| Fault::failed(format!("the entry `{name}` is published, so {why}"));
        if std::str::from_utf8(key).is_err() {
            return Err(refused("its key must be UTF-8"));
        }
        let text = std::str::from_utf8(value).map_err(|_| refused("its value must be JSON, but it isn't UTF-8"))?;
        match read_value(text) {
            Ok(Value::Null) => Err(refused("its value must not be null; delete the entry instead")),
            Ok(value) => Ok(value),
            Err(error) => Err(refused(&format!("its value must be JSON: {error}"))),
        }
    }
}
