//! What is seen of one topic, indexed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytestring::ByteString;

use super::PresenceEntry;
use super::entry::{write_metas, write_presence};

/// The entries of a topic that are seen: those of replicas that are up.
#[derive(Debug, Default)]
pub(super) struct View {
    keys: BTreeMap<Arc<str>, Key>,
    /// The own replica's, by member. There are but a few to a member.
    members: HashMap<u64, Vec<Arc<PresenceEntry>>>,
    /// All of it as clients read it, if somebody has asked since the last change.
    encoded: Option<ByteString>,
}

/// What is seen of one key.
#[derive(Debug, Default)]
struct Key {
    /// In the order in which they were written.
    entries: Vec<Arc<PresenceEntry>>,
    /// `"KEY":{"metas":[..]}`, if somebody has asked since the last change: among thousands who join, each of whom is sent
    /// all the others, it is written but once.
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

    /// What a member of this node has.
    pub(super) fn of_member(&self, member: u64) -> &[Arc<PresenceEntry>] {
        self.members.get(&member).map_or(&[], Vec::as_slice)
    }

    /// All, by key.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<PresenceEntry>> {
        self.keys.values().flat_map(|key| &key.entries)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// `{"metas":[..]}` of one key.
    pub(super) fn metas(&self, key: &str) -> Option<ByteString> {
        let mut text = String::new();
        write_metas(&mut text, &self.keys.get(key)?.entries);
        Some(text.into())
    }

    /// `{"KEY":{"metas":[..]},..}`, encoded once for all who ask between two changes.
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

/// By dot: a key that thousands share is found in as few looks as any.
fn position(key: &[Arc<PresenceEntry>], entry: &PresenceEntry) -> Result<usize, usize> {
    key.binary_search_by(|other| (other.clock, &other.replica).cmp(&(entry.clock, &entry.replica)))
}
