//! What is seen of one topic, indexed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytestring::ByteString;

use super::Entry;
use super::entry::{write_metas, write_presences};

/// The entries of a topic that are seen: those of replicas that are up.
#[derive(Debug, Default)]
pub(super) struct View {
    /// By key; those of a key in the order in which they were written.
    keys: BTreeMap<Arc<str>, Vec<Arc<Entry>>>,
    /// The own replica's, by member. There are but a few to a member.
    members: HashMap<u64, Vec<Arc<Entry>>>,
    /// All of it as clients read it, if somebody has asked since the last change.
    encoded: Option<ByteString>,
}

impl View {
    pub(super) fn add(&mut self, entry: &Arc<Entry>, is_own: bool) {
        let key = self.keys.entry(Arc::clone(&entry.key)).or_default();
        if let Err(at) = position(key, entry) {
            key.insert(at, Arc::clone(entry));
        }
        if is_own {
            self.members.entry(entry.member).or_default().push(Arc::clone(entry));
        }
        self.encoded = None;
    }

    pub(super) fn remove(&mut self, entry: &Arc<Entry>, is_own: bool) {
        if let Some(key) = self.keys.get_mut(&entry.key) {
            if let Ok(at) = position(key, entry) {
                key.remove(at);
            }
            if key.is_empty() {
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
    pub(super) fn of_member(&self, member: u64) -> &[Arc<Entry>] {
        self.members.get(&member).map_or(&[], Vec::as_slice)
    }

    /// All, by key.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.keys.values().flatten()
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
        write_metas(&mut text, self.keys.get(key)?);
        Some(text.into())
    }

    /// `{"KEY":{"metas":[..]},..}`, encoded once for all who ask between two changes.
    pub(super) fn encoded(&mut self) -> ByteString {
        if let Some(encoded) = &self.encoded {
            return encoded.clone();
        }
        let mut text = String::new();
        write_presences(&mut text, self.entries());
        text.shrink_to_fit();
        self.encoded.insert(text.into()).clone()
    }
}

/// By dot: a key that thousands share is found in as few looks as any.
fn position(key: &[Arc<Entry>], entry: &Entry) -> Result<usize, usize> {
    key.binary_search_by(|other| (other.clock, &other.replica).cmp(&(entry.clock, &entry.replica)))
}
