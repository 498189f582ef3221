//! The published entries of a topic, as its members get them: the object of all of them, and the changes of a commit.
//!
//! The object has a field for each published entry: the entry's key, with its value. A change is a field of a JSON merge
//! patch (RFC 7396) for this object. So the cost of a change grows with the entries that a commit writes, and not with the
//! object.

use std::borrow::Cow;

use serde_json::Value;

use super::change::{AppliedChange, OldEntry};
use super::packed::Packed;
use super::rules::EntryRules;
use crate::published::difference;
use crate::read_value;

/// A change of a published entry that members can see.
#[derive(Clone, Debug)]
pub struct PublishedChange {
    key: Box<str>,
    /// The entry before. None if there was none.
    old: Option<Packed>,
    /// The field of the patch: `"key":patch`.
    field: Box<str>,
}

impl EntryRules {
    /// Returns the change that members get of an entry that was written. None if the entry isn't published, or if its value
    /// is the same as before.
    #[must_use]
    pub fn published_change(&self, change: &AppliedChange<'_>) -> Option<PublishedChange> {
        let AppliedChange { key, old, new, parsed, .. } = change;
        if parsed.is_none() && !self.is_published(key) {
            return None;
        }
        // A put has checked both texts.
        let key = std::str::from_utf8(key).ok()?;
        let new = new.and_then(|value| std::str::from_utf8(value).ok());
        let old = match old {
            OldEntry::Entry { packed, .. } => Some(packed.clone()),
            // A call keeps the old value of a published entry if the table may lose it.
            OldEntry::Bytes(_) | OldEntry::Absent => None,
        };
        let patch = patch(text_of(old.as_ref()), new, parsed.as_deref())?;
        Some(PublishedChange { field: field(key, &patch), key: key.into(), old })
    }
}

impl PublishedChange {
    /// Returns the key of the entry.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the entry before the change, if there was one.
    pub(super) fn old(&self) -> Option<&Packed> {
        self.old.as_ref()
    }

    /// Returns the field of the patch: the key as a JSON string, a colon, and the patch of the value.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

/// The value of an entry that was published.
pub(super) fn text_of(entry: Option<&Packed>) -> Option<&str> {
    entry.and_then(|packed| std::str::from_utf8(packed.value()).ok())
}

/// A field of an object's text.
pub(super) fn field(key: &str, value: &str) -> Box<str> {
    format!("{}:{value}", Value::from(key)).into()
}

/// The text of an object with these fields.
#[must_use]
pub fn object_of<'f>(fields: impl Iterator<Item = &'f str>) -> String {
    let mut text = String::from("{");
    for field in fields {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(field);
    }
    text.push('}');
    text
}

/// The patch that turns the value of an entry into another one. None without a difference. `parsed` is the new value, if it
/// has been parsed already.
///
/// Only two objects are compared. Any other value replaces the value before, as a merge patch says.
pub(super) fn patch<'n>(old: Option<&str>, new: Option<&'n str>, parsed: Option<&Value>) -> Option<Cow<'n, str>> {
    let (old, new) = match (old, new) {
        (None, None) => return None,
        (Some(_), None) => return Some(Cow::Borrowed("null")),
        (None, Some(new)) => return Some(Cow::Borrowed(new)),
        (Some(old), Some(new)) if old == new => return None,
        both => both,
    };
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    if !(is_object(old) && is_object(new)) {
        return Some(Cow::Borrowed(new));
    }
    let read = |text: &str| read_value(text).unwrap_or_default();
    let (before, after) = (read(old), parsed.map_or_else(|| Cow::Owned(read(new)), Cow::Borrowed));
    let (Value::Object(before), Value::Object(after)) = (&before, &*after) else { return Some(Cow::Borrowed(new)) };
    let patch = difference(before, after);
    (!patch.is_empty()).then(|| Cow::Owned(Value::Object(patch).to_string()))
}

fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{')
}

/// The text of the object of published entries, while it is made.
#[derive(Debug)]
pub struct WholeText(String);

impl Default for WholeText {
    fn default() -> Self {
        Self(String::from("{"))
    }
}

impl WholeText {
    /// Begins a text of about this many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self(text)
    }

    /// Adds an entry. Each put has checked that a published entry is text.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let (Ok(key), Ok(value)) = (std::str::from_utf8(key), std::str::from_utf8(value)) else { return };
        if self.0.len() > 1 {
            self.0.push(',');
        }
        if key.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.0.extend(["\"", key, "\":", value]);
        } else {
            self.0.push_str(&field(key, value));
        }
    }

    /// Returns the text of the object.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
