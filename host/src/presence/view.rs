//! The visible entries of one topic, indexed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytestring::ByteString;

use super::PresenceEntry;
use super::entry::{write_metas, write_presence};

/// The visible entries of a topic: those of replicas that are up.
#[derive(Debug, Default)]
pub(super) struct View {
    keys: BTreeMap<Arc<str>, Key>,
    /// The entries of this replica, by member. A member has only a few.
    members: HashMap<u64, Vec<Arc<PresenceEntry>>>,
    /// The payload of a `presence_state`, if it was requested since the last change.
    encoded: Option<ByteString>,
}

/// The visible entries of one key.
#[derive(Debug, Default)]
struct Key {
    /// Sorted by clock, then by replica.
    entries: Vec<Arc<PresenceEntry>>,
    /// `"KEY":{"metas":[..]}`, if it was requested since the key's last change. If thousands of members join, each is
    /// sent all others, but each key is encoded only once.
    encoded: Option<Box<str>>,
}

impl Key {
    fn add(&mut self, entry: &Arc<PresenceEntry>) {
        if let Err(at) = position(&self.entries, entry) {
            self.entries.insert(at, Arc::clone(entry));
        }
        self.encoded = None;
    }

    fn remove(&mut self, entry: &PresenceEntry) {
        if let Ok(at) = position(&self.entries, entry) {
            self.entries.remove(at);
        }
        self.encoded = None;
    }

    fn encoded(&mut self, key: &str) -> &str {
        self.encoded.get_or_insert_with(|| {
            let mut text = String::new();
            write_presence(&mut text, key, &self.entries);
            text.into()
        })
    }
}

impl View {
    pub(super) fn add(&mut self, entry: &Arc<PresenceEntry>, is_own: bool) {
        self.keys.entry(Arc::clone(&entry.key)).or_default().add(entry);
        if is_own {
            self.members.entry(entry.member).or_default().push(Arc::clone(entry));
        }
        self.encoded = None;
    }

    pub(super) fn remove(&mut self, entry: &Arc<PresenceEntry>, is_own: bool) {
        if let Some(key) = self.keys.get_mut(&entry.key) {
            key.remove(entry);
            if key.entries.is_empty() {
                self.keys.remove(&entry.key);
            }
        }
        if is_own && let Some(member) = self.members.get_mut(&entry.member) {
            member.retain(|own| own.clock != entry.clock);
            if member.is_empty() {
                self.members.remove(&entry.member);
            }
        }
        self.encoded = None;
    }

    /// Returns the entries of a member of this node.
    pub(super) fn of_member(&self, member: u64) -> &[Arc<PresenceEntry>] {
        self.members.get(&member).map_or(&[], Vec::as_slice)
    }

    /// Returns all entries, by key.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<PresenceEntry>> {
        self.keys.values().flat_map(|key| &key.entries)
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns `{"metas":[..]}` of one key.
    pub(super) fn metas(&self, key: &str) -> Option<ByteString> {
        let mut text = String::new();
        write_metas(&mut text, &self.keys.get(key)?.entries);
        Some(text.into())
    }

    /// Returns `{"KEY":{"metas":[..]},..}`, encoded once between two changes.
    pub(super) fn encoded(&mut self) -> ByteString {
        if let Some(encoded) = &self.encoded {
            return encoded.clone();
        }
        let bytes: usize = self.keys.iter_mut().map(|(name, key)| key.encoded(name).len() + 1).sum();
        let mut text = String::with_capacity(bytes + 2);
        text.push('{');
        for (at, (name, key)) in self.keys.iter_mut().enumerate() {
            text.push_str(if at > 0 { "," } else { "" });
            text.push_str(key.encoded(name));
        }
        text.push('}');
        self.encoded.insert(text.into()).clone()
    }
}

/// Finds an entry by its dot. The search is binary, so it is fast even if thousands of entries share the key.
fn position(key: &[Arc<PresenceEntry>], entry: &PresenceEntry) -> Result<usize, usize> {
    key.binary_search_by(|other| (other.clock, &other.replica).cmp(&(entry.clock, &entry.replica)))
}
