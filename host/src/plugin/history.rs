//! What is remembered of each plugin's builds from one start of the host to the next: which is proved, and which is on
//! probation against which.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The records of all plugins, by name.
pub(super) type History = BTreeMap<String, Record>;

/// How many plugins whose files are gone are remembered. Past it, those that were served longest ago are forgotten: a name that
/// carries a version is another one with each build.
const ABSENT_MAX: usize = 64;

/// What is remembered of one plugin. Builds are named by their digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// The build that was proved last.
    pub(super) proved: Option<String>,
    /// The build before that one, for a rollback.
    pub(super) before: Option<String>,
    /// The probation under way.
    pub(super) open: Option<OpenProbation>,
    /// Probations that have ended and may still hold bytes of stored states.
    pub(super) ended: Vec<EndedProbation>,
    /// When a build was published last, in milliseconds since 1970.
    pub(super) served_at_ms: u64,
}

/// A probation under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenProbation {
    /// Its number, by which stored states know it.
    pub(super) id: u64,
    /// The build that is on probation.
    pub(super) build: String,
    /// The build that serves again if that one fails.
    pub(super) against: String,
}

/// A probation that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EndedProbation {
    /// Its number.
    pub(super) id: u64,
    /// Whether states return to what they were.
    pub(super) is_taken_back: bool,
}

impl Record {
    /// A build is about to serve, on the probation of that number against another build, or on none. A probation that was under
    /// way and isn't this one ends: its build was taken back if the one that serves is what it had to prove itself against.
    pub(super) fn note_published(&mut self, build: &str, probation: Option<(u64, String)>, now_ms: u64) {
        self.served_at_ms = now_ms;
        let next = probation.map(|(id, against)| OpenProbation { id, build: build.to_owned(), against });
        let is_same = next.as_ref().map(|next| next.id) == self.open.as_ref().map(|open| open.id);
        if let Some(open) = self.open.take().filter(|_| !is_same) {
            self.end(open.id, open.against == build);
        }
        self.open = next;
    }

    /// A build is proved: it has answered calls, and whatever probation it was on is over.
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

    /// The build that serves again was proved by it, and what was taken back is nothing to go back to.
    pub(super) fn note_rolled_back(&mut self, build: &str) {
        self.proved = Some(build.to_owned());
        self.before = None;
    }

    fn end(&mut self, id: u64, is_taken_back: bool) {
        self.ended.push(EndedProbation { id, is_taken_back });
    }

    /// The build that another one has to prove itself against, if nothing serves yet.
    pub(super) fn previous_build(&self) -> Option<&String> {
        self.open.as_ref().map(|open| &open.against).or(self.proved.as_ref())
    }

    /// The build that a rollback leads to, where this one serves and is on no probation.
    pub(super) fn rollback_target_from(&self, serves: &str) -> Option<&String> {
        let proved = self.proved.as_ref().filter(|proved| *proved != serves);
        proved.or(self.before.as_ref()).filter(|before| *before != serves)
    }

    /// Whether this build is proved, or was.
    pub(super) fn knows(&self, build: &str) -> bool {
        [&self.proved, &self.before].into_iter().flatten().any(|known| known == build)
    }

    /// The builds whose components are to be kept.
    pub(super) fn builds(&self) -> impl Iterator<Item = &str> {
        let open = self.open.iter().flat_map(|open| [&*open.against, &*open.build]);
        open.chain(self.proved.as_deref()).chain(self.before.as_deref())
    }
}

/// Forgets the plugins that were served longest ago, of those whose files are gone. Whether there were too many.
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
    fn a_build_that_is_proved_has_the_one_before_it_to_go_back_to() {
        let mut record = Record::default();
        record.note_published("first", None, 1);
        assert_eq!((record.previous_build(), record.knows("first")), (None, false), "it has answered no call");
        record.note_proved("first");
        assert_eq!((record.previous_build(), record.rollback_target_from("first")), (Some(&"first".to_owned()), None));
        on_probation(&mut record, "second", 7, "first");
        on_probation(&mut record, "third", 7, "first");
        assert!(record.ended.is_empty(), "another build goes on with the same probation");
        record.note_proved("third");
        assert_eq!(record.ended, [EndedProbation { id: 7, is_taken_back: false }]);
        assert_eq!(record.rollback_target_from("third"), Some(&"first".to_owned()));
        assert!(record.open.is_none() && record.knows("third") && record.knows("first"));
        record.note_proved("third");
        assert_eq!(record.rollback_target_from("third"), Some(&"first".to_owned()), "it is proved once");
    }

    #[test]
    fn a_probation_ends_with_what_serves_after_it() {
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
    fn only_so_many_plugins_without_a_file_are_remembered() {
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
