//! The state of a topic's published entries, apart from the entries themselves.

use std::collections::BTreeSet;

use bytestring::ByteString;

use super::followed::Followed;
use super::missed::{MissedChanges, OldValues};
use super::published::PublishedChange;

/// The published entries of a topic: the number of the last change, the changes that some members have missed, and the text
/// of a whole state.
///
/// The text is kept for the members that join next. It counts as a member that has missed the changes since the text was
/// made: a joining member gets the text, and then a patch. So a join doesn't have to read all entries.
#[derive(Debug)]
pub struct Publishing {
    change: u64,
    missed: MissedChanges,
    /// The text, and the number of the last change in it.
    kept: Option<(u64, ByteString)>,
    /// Whether a member may have missed changes.
    is_anyone_behind: bool,
    missed_bytes: usize,
}

/// The text is dropped when the old values of the changes since it was made have more than this part of its bytes. Then a
/// new text costs little more than the patch.
const KEPT_SHARE: usize = 8;

impl Publishing {
    /// A topic without changes. `missed_bytes` is the most that the old values of missed changes may have.
    #[must_use]
    pub fn new(missed_bytes: usize) -> Self {
        Self { change: 0, missed: MissedChanges::default(), kept: None, is_anyone_behind: false, missed_bytes }
    }

    /// Returns the number of the last change.
    #[must_use]
    pub fn change(&self) -> u64 {
        self.change
    }

    /// Numbers the changes of a commit.
    pub fn next_change(&mut self) -> u64 {
        self.change += 1;
        self.change
    }

    /// Keeps the changes of the last commit for those who need them. `is_missed` says whether a member has missed them, or
    /// may still miss them. Returns whether earlier changes were dropped because a limit is reached.
    pub fn record(&mut self, changes: &[PublishedChange], is_missed: bool) -> bool {
        if is_missed {
            self.is_anyone_behind = true;
            self.missed.begin(self.change.saturating_sub(1));
        }
        if self.missed.is_empty() {
            return false;
        }
        let has_dropped = self.missed.record(changes, self.missed_bytes);
        let is_useless = |(since, text): &(u64, ByteString)| {
            self.missed.bytes_since(*since).is_none_or(|bytes| bytes > text.len() / KEPT_SHARE)
        };
        if self.kept.as_ref().is_some_and(is_useless) {
            self.kept = None;
            self.tidy();
        }
        has_dropped
    }

    /// Drops the changes that only an earlier text has needed, unless a member may need them.
    fn tidy(&mut self) {
        if !self.is_anyone_behind {
            self.retain(BTreeSet::new());
        }
    }

    /// Keeps the text of a whole state that has all changes so far.
    pub fn keep(&mut self, text: ByteString) {
        self.missed.begin(self.change);
        self.kept = Some((self.change, text));
        self.tidy();
    }

    /// Drops the text, and all missed changes.
    pub fn drop_kept(&mut self) {
        self.kept = None;
        self.missed = MissedChanges::default();
    }

    /// Returns the kept text of the whole state, as it was when it was made.
    #[must_use]
    pub fn text(&self) -> Option<&ByteString> {
        self.kept.as_ref().map(|(_, text)| text)
    }

    /// Returns the kept text of the whole state, with the old values of the entries that have changed since it was made.
    #[must_use]
    pub fn kept(&self) -> Option<(&ByteString, OldValues<'_>)> {
        let (since, text) = self.kept.as_ref()?;
        Some((text, self.missed.since(*since, None)?))
    }

    /// Returns the old values of the entries that have changed since a change. None if the member must get the whole state.
    #[must_use]
    pub fn since(&self, since: u64, followed: Option<&Followed>) -> Option<OldValues<'_>> {
        self.missed.since(since, followed)
    }

    /// Returns the bytes that it keeps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.missed.bytes() + self.text().map_or(0, |text| text.len())
    }

    /// Drops the missed changes that nobody needs. `behind` are the changes up to which members are current that have
    /// missed some.
    pub fn retain(&mut self, mut behind: BTreeSet<u64>) {
        self.is_anyone_behind = !behind.is_empty();
        behind.extend(self.kept.as_ref().map(|(since, _)| *since));
        self.missed.retain(&behind);
    }
}
