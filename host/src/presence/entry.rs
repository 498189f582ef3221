//! One presence: a member under a key in a topic, with its meta.

use std::sync::Arc;

use super::Replica;
use crate::protocol::Topic;

/// An entry. It never changes: an update writes another entry that replaces it.
#[derive(Debug, PartialEq, Eq)]
pub struct PresenceEntry {
    /// The replica that wrote it.
    pub replica: Replica,
    /// The number of the write, as that replica counts. Replica and clock together are the entry's dot, which no other
    /// entry has.
    pub clock: u64,
    /// The clock of the entry that it replaced.
    pub before: Option<u64>,
    /// The topic in which the member is online.
    pub topic: Topic,
    /// The key under which it is online.
    pub key: Arc<str>,
    /// The member's number. It has a meaning only for the entry's replica.
    pub member: u64,
    /// The member's metadata: the text of a JSON object.
    pub meta: Box<str>,
}

impl PresenceEntry {
    /// Returns the `phx_ref`, by which clients identify the entry.
    #[must_use]
    pub fn phx_ref(&self) -> String {
        let mut out = String::new();
        self.replica.write_ref(self.clock, &mut out);
        out
    }

    /// Writes the meta as clients get it. The refs are added at its end: if a key occurs twice in an object, JSON
    /// parsers keep the last one, so a `phx_ref` in a user's meta has no effect. A meta that is not an object is
    /// written as an empty one.
    pub(super) fn write_meta(&self, out: &mut String) {
        let fields = self.meta.trim_ascii_end().strip_suffix('}').unwrap_or("{").trim_ascii_end();
        out.push_str(fields);
        if fields.trim_ascii_start() != "{" {
            out.push(',');
        }
        out.push_str("\"phx_ref\":\"");
        self.replica.write_ref(self.clock, out);
        if let Some(before) = self.before {
            out.push_str("\",\"phx_ref_prev\":\"");
            self.replica.write_ref(before, out);
        }
        out.push_str("\"}");
    }

    /// Returns its approximate size in bytes, on the wire and in memory.
    pub(super) fn weight(&self) -> usize {
        /// The refs with their names, the braces, and the struct.
        const FIXED: usize = 192;
        FIXED + self.key.len() + self.meta.len()
    }
}

/// Writes `{"KEY":{"metas":[..]},..}`. The entries of one key must be adjacent.
pub(super) fn write_presences<'a>(out: &mut String, entries: impl Iterator<Item = &'a Arc<PresenceEntry>>) {
    let mut key = None;
    out.push('{');
    for entry in entries {
        if key == Some(&entry.key) {
            out.push(',');
        } else {
            out.push_str(if key.is_some() { "]}," } else { "" });
            out.push_str(&serde_json::Value::from(&*entry.key).to_string());
            out.push_str(":{\"metas\":[");
            key = Some(&entry.key);
        }
        entry.write_meta(out);
    }
    out.push_str(if key.is_some() { "]}}" } else { "}" });
}

/// Writes `"KEY":{"metas":[..]}`.
pub(super) fn write_presence(out: &mut String, key: &str, entries: &[Arc<PresenceEntry>]) {
    out.push_str(&serde_json::Value::from(key).to_string());
    out.push(':');
    write_metas(out, entries);
}

/// Writes `{"metas":[..]}`.
pub(super) fn write_metas(out: &mut String, entries: &[Arc<PresenceEntry>]) {
    out.push_str("{\"metas\":[");
    for (at, entry) in entries.iter().enumerate() {
        out.push_str(if at > 0 { "," } else { "" });
        entry.write_meta(out);
    }
    out.push_str("]}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(meta: &str, before: Option<u64>) -> String {
        let (replica, topic) = (Replica::new("a", 0, 1), Topic::new("room:a"));
        let entry = PresenceEntry { replica, clock: 2, before, topic, key: "k".into(), member: 1, meta: meta.into() };
        let mut out = String::new();
        entry.write_meta(&mut out);
        out.replace(&entry.phx_ref()[..8], "")
    }

    #[test]
    fn refs_are_added_at_the_end_of_a_meta() {
        let cases = [
            ("{}", None, r#"{"phx_ref":"C"}"#),
            (" { } ", None, r#" {"phx_ref":"C"}"#),
            (r#"{"a":{}}"#, None, r#"{"a":{},"phx_ref":"C"}"#),
            ("{\"a\":1\n}\n", Some(1), r#"{"a":1,"phx_ref":"C","phx_ref_prev":"B"}"#),
            (r#"{"phx_ref":"mine"}"#, None, r#"{"phx_ref":"mine","phx_ref":"C"}"#),
            ("[1]", None, r#"{"phx_ref":"C"}"#),
            ("", None, r#"{"phx_ref":"C"}"#),
        ];
        for (meta, before, expected) in cases {
            assert_eq!(written(meta, before), expected, "{meta:?}");
        }
        let parsed: serde_json::Value = serde_json::from_str(&written(r#"{"phx_ref":"mine"}"#, None)).unwrap();
        assert_eq!(parsed["phx_ref"], "C");
    }
}
