//! The changes of published entries that some members have missed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::followed::Followed;
use super::packed::Packed;
use super::published::{PublishedChange, field, object_of, patch, text_of};

/// The entries as they were before changes that some members have missed.
///
/// The changes of a topic have consecutive numbers. A *segment* begins after a change, and has the old value of each entry
/// that was changed since then, until the next segment begins. So the patch for a member that has missed all changes since
/// the beginning of a segment is the difference between the oldest value of each entry and its value of now. The old values
/// are needed because the patch must say which fields are gone.
///
/// While nobody has missed a change, there is no segment, and nothing is kept.
#[derive(Clone, Debug, Default)]
pub struct MissedChanges {
    segments: VecDeque<Segment>,
    bytes: usize,
}

/// The old values of the entries that were changed after a change.
#[derive(Clone, Debug)]
struct Segment {
    /// The number of the change after which it begins.
    since: u64,
    /// By the key. None if there was no entry.
    old: BTreeMap<Box<str>, Option<Packed>>,
    /// The bytes of `old`.
    bytes: usize,
}

/// The most segments. Past it, the first one is dropped.
const SEGMENTS_MAX: usize = 64;

/// The bytes that an old value is counted with, in addition to its key and value.
const WEIGHT: usize = 64;

impl Segment {
    /// Adds the old value of an entry, unless it has an older one. Returns the bytes by which it grows.
    fn add(&mut self, key: &str, old: impl FnOnce() -> Option<Packed>) -> usize {
        if self.old.contains_key(key) {
            return 0;
        }
        let old = old();
        let bytes = WEIGHT + key.len() + old.as_ref().map_or(0, Packed::bytes);
        self.old.insert(key.into(), old);
        self.bytes += bytes;
        bytes
    }
}

impl MissedChanges {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Returns the bytes of the old values, with 64 bytes for each.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the bytes of the old values of all changes after the one with this number, if they are kept.
    #[must_use]
    pub fn bytes_since(&self, since: u64) -> Option<usize> {
        let at = self.segments.binary_search_by_key(&since, |segment| segment.since).ok()?;
        let newer: usize = self.segments.range(at..).map(|segment| segment.bytes).sum();
        Some(newer)
    }

    /// Keeps all changes after the one with this number, which is the last one so far.
    pub fn begin(&mut self, since: u64) {
        if self.segments.back().is_none_or(|last| last.since != since) {
            self.segments.push_back(Segment { since, old: BTreeMap::new(), bytes: 0 });
        }
    }

    /// Adds the old values of the entries that a commit has changed. `most` bounds the bytes; past it, the oldest segments are
    /// dropped. Returns whether there was one.
    pub fn record(&mut self, changes: &[PublishedChange], most: usize) -> bool {
        let Some(last) = self.segments.back_mut() else { return false };
        for change in changes {
            self.bytes += last.add(change.key(), || change.old().cloned());
        }
        let mut has_dropped = false;
        while self.bytes > most || self.segments.len() > SEGMENTS_MAX {
            let Some(first) = self.segments.pop_front() else { break };
            self.bytes -= first.bytes;
            has_dropped = true;
        }
        has_dropped
    }

    /// Drops the segments at whose beginnings nobody is. Such a segment is merged into the one before it, which is older.
    pub fn retain(&mut self, needed: &BTreeSet<u64>) {
        let mut kept: VecDeque<Segment> = VecDeque::new();
        for segment in std::mem::take(&mut self.segments) {
            match kept.back_mut() {
                _ if needed.contains(&segment.since) => kept.push_back(segment),
                None => self.bytes -= segment.bytes,
                Some(before) => {
                    self.bytes -= segment.bytes;
                    for (key, old) in segment.old {
                        self.bytes += before.add(&key, || old);
                    }
                }
            }
        }
        self.segments = kept;
    }

    /// Returns the entries that were changed after the change with this number, each with its value at that time. None if
    /// these changes aren't kept. `followed` selects the entries; without it, all of them.
    #[must_use]
    pub fn since(&self, since: u64, followed: Option<&Followed>) -> Option<OldValues<'_>> {
        let at = self.segments.binary_search_by_key(&since, |segment| segment.since).ok()?;
        let mut values = BTreeMap::new();
        for segment in self.segments.range(at..) {
            let is_in = |key: &str| followed.is_none_or(|followed| followed.contains(key));
            for (key, old) in segment.old.iter().filter(|(key, _)| is_in(key)) {
                values.entry(&**key).or_insert_with(|| text_of(old.as_ref()));
            }
        }
        Some(OldValues(values))
    }
}

/// The entries that a member has missed changes of, each with the value that the member has.
#[derive(Clone, Debug)]
pub struct OldValues<'a>(BTreeMap<&'a str, Option<&'a str>>);

impl OldValues<'_> {
    /// Returns the keys, in their order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().copied()
    }

    /// Returns the patch that leads to the values of now, in the order of [`keys`](Self::keys). None if nothing differs.
    #[must_use]
    pub fn patch<'v>(&self, now: impl IntoIterator<Item = Option<&'v [u8]>>) -> Option<String> {
        let mut fields = Vec::new();
        for ((key, old), new) in self.0.iter().zip(now) {
            let new = new.and_then(|value| std::str::from_utf8(value).ok());
            fields.extend(patch(*old, new, None).map(|patch| field(key, &patch)));
        }
        (!fields.is_empty()).then(|| object_of(fields.iter().map(|field| &**field)))
    }
}
