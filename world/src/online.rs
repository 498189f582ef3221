//! The presences of a world, in the forms that the host sends. `bennu_semantics::PresenceWindow` is the rule that both share.

use std::collections::BTreeMap;
use std::time::Duration;

use bennu_semantics::{MergeableDiff, PresenceWindow, read_object};
use serde_json::{Map, Value, json};

/// The bytes of an entry's refs and its overhead, as the host counts them.
const ENTRY_BYTES: usize = 192;

/// The presences of all topics.
#[derive(Clone, Debug, Default)]
pub struct Online {
    /// By topic, in the order of their writes.
    topics: BTreeMap<String, Vec<PresenceEntry>>,
    refs: u64,
}

/// A member's presence under a key. An update writes a new entry.
#[derive(Clone, Debug)]
struct PresenceEntry {
    number: u64,
    member: u64,
    key: String,
    meta: Value,
}

/// The entries that joined and left. A client applies the joins first.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    joins: Entries,
    leaves: Entries,
}

/// Entries, sorted by key and then by the order of their writes.
type Entries = BTreeMap<(String, u64), PresenceEntry>;

/// A topic's window. The time is that of the world's clock.
pub(crate) type Window = PresenceWindow<Diff, Duration>;

impl Online {
    /// The payload of `presence_state`.
    #[must_use]
    pub fn state(&self, topic: &str) -> Value {
        metas(self.topics.get(topic).into_iter().flatten())
    }

    /// The metas of one key.
    pub(crate) fn of(&self, topic: &str, key: &str) -> Option<Value> {
        self.state(topic).get(key).cloned()
    }

    /// Adds a presence. Returns the diff, as each of these methods does.
    pub fn track(&mut self, topic: &str, member: u64, key: &str, meta: &str) -> Diff {
        let entry = self.write(topic, member, key, meta, None);
        Diff { joins: Entries::from([(place(&entry), entry)]), leaves: Entries::new() }
    }

    /// Replaces the meta of a presence.
    pub fn update(&mut self, topic: &str, member: u64, key: &str, meta: &str) -> Option<Diff> {
        let mut diff = self.untrack(topic, member, key)?;
        let before = diff.leaves.values().next()?.meta["phx_ref"].clone();
        let entry = self.write(topic, member, key, meta, Some(before));
        diff.joins.insert(place(&entry), entry);
        Some(diff)
    }

    /// Removes a presence.
    pub fn untrack(&mut self, topic: &str, member: u64, key: &str) -> Option<Diff> {
        self.take(topic, |entry| entry.member == member && entry.key == key)
    }

    /// Removes all presences of a member that has ended.
    pub fn leave(&mut self, topic: &str, member: u64) -> Option<Diff> {
        self.take(topic, |entry| entry.member == member)
    }

    fn take(&mut self, topic: &str, gone: impl Fn(&PresenceEntry) -> bool) -> Option<Diff> {
        let entries = self.topics.get_mut(topic)?;
        let (left, stay): (Vec<_>, Vec<_>) = entries.drain(..).partition(gone);
        *entries = stay;
        let leaves: Entries = left.into_iter().map(|entry| (place(&entry), entry)).collect();
        (!leaves.is_empty()).then(|| Diff { joins: Entries::new(), leaves })
    }

    fn write(&mut self, topic: &str, member: u64, key: &str, meta: &str, before: Option<Value>) -> PresenceEntry {
        self.refs += 1;
        // The record refuses a meta that isn't an object, so the default is never used.
        let mut meta = Value::Object(read_object(meta).unwrap_or_default());
        meta["phx_ref"] = format!("ref-{}", self.refs).into();
        if let Some(before) = before {
            meta["phx_ref_prev"] = before;
        }
        let entry = PresenceEntry { number: self.refs, member, key: key.into(), meta };
        self.topics.entry(topic.into()).or_default().push(entry.clone());
        entry
    }
}

impl Diff {
    /// The payload of `presence_diff`.
    pub(crate) fn payload(&self) -> Value {
        json!({ "joins": metas(self.joins.values()), "leaves": metas(self.leaves.values()) })
    }
}

impl MergeableDiff for Diff {
    fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty()
    }

    /// An entry that joined and left stays among the joins, too.
    fn merge(&mut self, later: Self) {
        for (place, entry) in later.joins {
            self.leaves.remove(&place);
            self.joins.insert(place, entry);
        }
        self.leaves.extend(later.leaves);
    }

    fn bytes(&self) -> usize {
        let entries = self.joins.values().chain(self.leaves.values());
        entries.map(|entry| ENTRY_BYTES + entry.key.len() + entry.meta.to_string().len()).sum()
    }
}

fn place(entry: &PresenceEntry) -> (String, u64) {
    (entry.key.clone(), entry.number)
}

fn metas<'a>(entries: impl Iterator<Item = &'a PresenceEntry>) -> Value {
    let mut all = Map::new();
    for entry in entries {
        let slot = all.entry(&entry.key).or_insert_with(|| json!({ "metas": [] }));
        if let Some(metas) = slot["metas"].as_array_mut() {
            metas.push(entry.meta.clone());
        }
    }
    Value::Object(all)
}
