//! The keys that were written lately. They show whether another commit has changed the reads of a call.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::footprint::Footprint;
use super::revision::Revision;

/// A bounded log of writes. Older writes are evicted, up to the horizon.
pub(super) struct Recent {
    /// The last revision that wrote each key.
    by_key: HashMap<Bytes, Revision>,
    /// Every write, the latest last.
    log: VecDeque<(Revision, Bytes)>,
    bytes: usize,
    bytes_most: usize,
    /// All writes after this revision are in the log.
    horizon: Revision,
}

/// Bytes that an entry takes, without those of its key.
const ENTRY: usize = 128;

impl Recent {
    pub(super) fn new(bytes_most: usize) -> Self {
        Self { by_key: HashMap::new(), log: VecDeque::new(), bytes: 0, bytes_most, horizon: Revision::default() }
    }

    /// Adds keys that were written with a revision. It must be later than all revisions before.
    pub(super) fn note<'a>(&mut self, revision: Revision, keys: impl Iterator<Item = &'a Bytes>) {
        for key in keys {
            self.bytes += ENTRY + key.len();
            self.by_key.insert(key.clone(), revision);
            self.log.push_back((revision, key.clone()));
        }
        while self.bytes > self.bytes_most
            && let Some((revision, key)) = self.log.pop_front()
        {
            self.bytes -= ENTRY + key.len();
            self.horizon = revision;
            if self.by_key.get(&key) == Some(&revision) {
                self.by_key.remove(&key);
            }
        }
    }

    /// Clears the log. Any key may have been written up to this revision.
    pub(super) fn clear_up_to(&mut self, revision: Revision) {
        let bytes_most = self.bytes_most;
        *self = Self { horizon: revision, ..Self::new(bytes_most) };
    }

    /// Whether a key of a footprint was written after a revision, or may have been (if the revision is before the horizon).
    pub(super) fn has_overtaken(&self, footprint: &Footprint, since: Revision) -> bool {
        if footprint.is_empty() {
            return false;
        }
        if since < self.horizon {
            return true;
        }
        let written = self.log.len() - self.log.partition_point(|(revision, _)| *revision <= since);
        // A call is short, so there are usually few writes since it began, and searching those is cheap. If there are more
        // writes than keys in the footprint, the keys are looked up instead. That isn't possible for the ranges of scans.
        if written > footprint.len()
            && let Some(mut keys) = footprint.keys()
        {
            return keys.any(|key| self.by_key.get(key).is_some_and(|revision| *revision > since));
        }
        self.log.iter().rev().take(written).any(|(_, key)| footprint.holds(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::engine::Span;

    fn note(recent: &mut Recent, revision: u64, keys: &[&'static str]) {
        let keys: Vec<Bytes> = keys.iter().map(|key| Bytes::from(*key)).collect();
        recent.note(Revision(revision), keys.iter());
    }

    fn has_read(keys: &[&'static str]) -> Footprint {
        let mut footprint = Footprint::default();
        keys.iter().for_each(|key| footprint.add_key(&Bytes::from(*key), 100));
        footprint
    }

    #[test]
    fn a_write_conflicts_with_an_earlier_read_of_its_key() {
        let mut recent = Recent::new(1 << 20);
        note(&mut recent, 1, &["a", "b"]);
        note(&mut recent, 2, &["c", "d", "e"]);
        for (keys, since, is_overtaken) in [
            (&["a"][..], 0, true),
            (&["a"], 1, false),
            (&["c"], 1, true),
            (&["c"], 2, false),
            (&["x"], 0, false),
            (&["w", "x", "y", "z", "d"], 1, true),
            (&[], 0, false),
        ] {
            assert_eq!(recent.has_overtaken(&has_read(keys), Revision(since)), is_overtaken, "{keys:?} {since}");
        }
        let mut scanned = has_read(&[]);
        scanned.add(Span { from: "d0".into(), until: "f".into() }, 100);
        assert!(recent.has_overtaken(&scanned, Revision(1)) && !recent.has_overtaken(&scanned, Revision(2)));
    }

    #[test]
    fn any_read_from_before_the_horizon_counts_as_a_conflict() {
        let mut recent = Recent::new(3 * (ENTRY + 1));
        (1..=5).for_each(|revision| note(&mut recent, revision, &["k"]));
        assert_eq!((recent.log.len(), recent.by_key.len(), recent.horizon), (3, 1, Revision(2)));
        let other = has_read(&["x"]);
        assert!(recent.has_overtaken(&other, Revision(1)) && !recent.has_overtaken(&other, Revision(2)));
        assert!(!recent.has_overtaken(&Footprint::default(), Revision(0)));
        note(&mut recent, 6, &["a", "b", "c"]);
        assert_eq!((recent.log.len(), recent.by_key.len()), (3, 3));
        recent.clear_up_to(Revision(7));
        assert!(recent.has_overtaken(&other, Revision(6)) && !recent.has_overtaken(&other, Revision(7)));
    }
}
