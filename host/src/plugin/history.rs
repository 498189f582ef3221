//! The record of each plugin's builds, kept across starts of the host: the build that passed last, and the build that
//! is on probation with the build before it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The records of all plugins, by name.
pub(super) type History = BTreeMap<String, Record>;

/// The maximum number of records of plugins without a file. Above it, the plugins that served longest ago are
/// removed. If the file names contain versions, each build is a new plugin, so without this limit the records would
/// grow forever.
const ABSENT_MAX: usize = 64;

/// The record of one plugin. Builds are identified by their digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// The build that passed last.
    pub(super) proved: Option<String>,
    /// The build before `proved`, for a rollback.
    pub(super) before: Option<String>,
    /// The running probation.
    pub(super) open: Option<OpenProbation>,
    /// The ended probations whose id may still be in stored states, next to the states' earlier versions.
    pub(super) ended: Vec<EndedProbation>,
    /// The time when a build was last published, in milliseconds since 1970.
    pub(super) served_at_ms: u64,
}

/// A running probation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenProbation {
    /// The probation's id, which stored states contain.
    pub(super) id: u64,
    /// The build that is on probation.
    pub(super) build: String,
    /// The previous build, which serves again after a rollback.
    pub(super) against: String,
}

/// An ended probation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EndedProbation {
    /// The probation's id.
    pub(super) id: u64,
    /// Whether the build was rolled back, so that states return to their earlier versions.
    pub(super) is_taken_back: bool,
}

impl Record {
    /// Records that a build is about to serve. `probation` is the id of its probation and the build before it, or
    /// `None` if it is not on probation. A different running probation ends. If `build` is the build before that
    /// probation, this is a rollback; otherwise the probation has passed.
    pub(super) fn note_published(&mut self, build: &str, probation: Option<(u64, String)>, now_ms: u64) {
        self.served_at_ms = now_ms;
        let next = probation.map(|(id, against)| OpenProbation { id, build: build.to_owned(), against });
        let is_same = next.as_ref().map(|next| next.id) == self.open.as_ref().map(|open| open.id);
        if let Some(open) = self.open.take().filter(|_| !is_same) {
            self.end(open.id, open.against == build);
        }
        self.open = next;
    }

    /// Records that a build has passed. Its probation, if there was one, ends.
    pub(super) fn note_proved(&mut self, build: &str) {
        let against = self.open.take().map(|open| {
            self.end(open.id, false);
            open.against
        });
        let former = self.proved.replace(build.to_owned());
        if let Some(before) = against.or(former).filter(|before| before != build) {
            self.before = Some(before);
        }
    }

    /// Records a rollback to `build`, which has passed. There is no build before it, because a build that was rolled
    /// back can't be the target of another rollback.
    pub(super) fn note_rolled_back(&mut self, build: &str) {
        self.proved = Some(build.to_owned());
        self.before = None;
    }

    fn end(&mut self, id: u64, is_taken_back: bool) {
        self.ended.push(EndedProbation { id, is_taken_back });
    }

    /// Returns the build against which a new build is on probation if nothing serves yet.
    pub(super) fn previous_build(&self) -> Option<&String> {
        self.open.as_ref().map(|open| &open.against).or(self.proved.as_ref())
    }

    /// Returns the target of a rollback from the build `serves`, which is not on probation.
    pub(super) fn rollback_target_from(&self, serves: &str) -> Option<&String> {
        let proved = self.proved.as_ref().filter(|proved| *proved != serves);
        proved.or(self.before.as_ref()).filter(|before| *before != serves)
    }

    /// Whether this build is recorded as one that has passed.
    pub(super) fn knows(&self, build: &str) -> bool {
        [&self.proved, &self.before].into_iter().flatten().any(|known| known == build)
    }

    /// Returns the builds whose components must be kept.
    pub(super) fn builds(&self) -> impl Iterator<Item = &str> {
        let open = self.open.iter().flat_map(|open| [&*open.against, &*open.build]);
        open.chain(self.proved.as_deref()).chain(self.before.as_deref())
    }
}

/// Removes the records of plugins without a file above the limit, those that served longest ago first. A record with
/// ended probations is not removed. Returns whether any record was removed.
pub(super) fn forget_absent(history: &mut History, present: &BTreeSet<&str>) -> bool {
    let absent = history.iter().filter(|(name, record)| !present.contains(&***name) && record.ended.is_empty());
    let mut absent: Vec<_> = absent.map(|(name, record)| (record.served_at_ms, name.clone())).collect();
    absent.sort();
    let surplus = absent.len().saturating_sub(ABSENT_MAX);
    absent[..surplus].iter().for_each(|(_, name)| drop(history.remove(name)));
    surplus > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_probation(record: &mut Record, build: &str, id: u64, against: &str) {
        record.note_published(build, Some((id, against.to_owned())), 1);
    }

    #[test]
    fn a_build_that_has_passed_can_be_rolled_back_to_the_one_before_it() {
        let mut record = Record::default();
        record.note_published("first", None, 1);
        assert_eq!((record.previous_build(), record.knows("first")), (None, false), "it has answered no call");
        record.note_proved("first");
        assert_eq!((record.previous_build(), record.rollback_target_from("first")), (Some(&"first".to_owned()), None));
        on_probation(&mut record, "second", 7, "first");
        on_probation(&mut record, "third", 7, "first");
        assert!(record.ended.is_empty(), "another build continues the same probation");
        record.note_proved("third");
        assert_eq!(record.ended, [EndedProbation { id: 7, is_taken_back: false }]);
        assert_eq!(record.rollback_target_from("third"), Some(&"first".to_owned()));
        assert!(record.open.is_none() && record.knows("third") && record.knows("first"));
        record.note_proved("third");
        assert_eq!(record.rollback_target_from("third"), Some(&"first".to_owned()), "passing again changes nothing");
    }

    #[test]
    fn the_build_that_serves_next_decides_the_result_of_a_probation() {
        for (serves, is_taken_back) in [("first", true), ("other", false)] {
            let mut record = Record { proved: Some("first".into()), ..Record::default() };
            on_probation(&mut record, "second", 7, "first");
            assert_eq!(record.previous_build(), Some(&"first".to_owned()));
            record.note_published(serves, None, 2);
            assert_eq!(record.ended, [EndedProbation { id: 7, is_taken_back }]);
            assert!(record.open.is_none());
        }
    }

    #[test]
    fn the_number_of_plugins_without_a_file_is_limited() {
        let mut history = History::new();
        for number in 0..ABSENT_MAX as u64 + 10 {
            let mut record = Record::default();
            record.note_published("build", None, number);
            history.insert(format!("plugin-{number}"), record);
        }
        assert!(forget_absent(&mut history, &BTreeSet::from(["plugin-3"])));
        assert_eq!(history.len(), ABSENT_MAX + 1);
        assert!(history.contains_key("plugin-3") && !history.contains_key("plugin-4"));
        assert!(!forget_absent(&mut history, &BTreeSet::from(["plugin-3"])));
    }
}
