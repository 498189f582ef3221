//! The drafts of one plugin that wait for their commit to a ledger.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::committer::PendingCommit;
use super::draft::Draft;
use super::revision::Revision;
use super::space;

/// The drafts of a plugin, and whether a batch of them is under way.
#[derive(Default)]
pub(super) struct LedgerQueue {
    waiting: VecDeque<PendingCommit>,
    /// Only one at a time: so an answer that was lost is that of the last batch, and commits stay in order.
    pub(super) is_busy: bool,
    pub(super) past: Past,
}

/// The drafts of the next batch.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) drafts: Vec<PendingCommit>,
    /// Those that have read what one of `drafts` writes. They can't be stored after it.
    pub(super) overtaken: Vec<PendingCommit>,
}

impl LedgerQueue {
    pub(super) fn push(&mut self, pending: PendingCommit) {
        self.waiting.push_back(pending);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the drafts of the next batch: the first one, and those after it until they have this many bytes.
    pub(super) fn choose(&mut self, bytes_most: usize) -> Chosen {
        let (mut chosen, mut written, mut bytes) = (Chosen::default(), Written::default(), 0);
        while (bytes < bytes_most || chosen.drafts.is_empty())
            && let Some(pending) = self.waiting.pop_front()
        {
            bytes += pending.draft.weight();
            if written.overtakes(&pending.draft) {
                chosen.overtaken.push(pending);
            } else {
                written.add(&pending.draft);
                chosen.drafts.push(pending);
            }
        }
        chosen
    }
}

/// What the drafts of a batch write, of what drafts can read.
#[derive(Default)]
struct Written {
    places: BTreeSet<Bytes>,
}

impl Written {
    fn add(&mut self, draft: &Draft) {
        self.places.extend(draft.writes.keys().filter(|place| space::is_read_by_drafts(place)).cloned());
    }

    fn overtakes(&self, draft: &Draft) -> bool {
        draft.footprint.spans().any(|(from, until)| self.places.range::<Bytes, _>(from..until).next().is_some())
    }
}

/// For how long a ledger remembers which keys were written. A call that has read anything longer ago has a conflict. It is longer than
/// most calls may take, and short enough that the ledger stays small.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);

/// The least time between two revisions that are noted.
const NOTED_EVERY: Duration = Duration::from_secs(10);

/// The revisions of a plugin's batches with their times, up to [`REMEMBERED`] ago.
#[derive(Debug, Default)]
pub(super) struct Past {
    noted: VecDeque<(Instant, Revision)>,
}

impl Past {
    /// Notes the revision of a batch.
    pub(super) fn note(&mut self, revision: Revision, now: Instant) {
        if self.noted.back().is_none_or(|(last, _)| now.duration_since(*last) >= NOTED_EVERY) {
            self.noted.push_back((now, revision));
        }
    }

    /// Takes the latest revision that is older than [`REMEMBERED`], if there is one.
    pub(super) fn take_old(&mut self, now: Instant) -> Option<Revision> {
        let old = self.noted.iter().take_while(|(at, _)| now.duration_since(*at) >= REMEMBERED).count();
        self.noted.drain(..old).next_back().map(|(_, revision)| revision)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;
    use tokio::sync::{Semaphore, oneshot};

    use super::*;
    use crate::store::{Direction, Owner, QUOTA_BYTES, Scan, Store, StoreLimits};

    /// A draft that reads a key or all of them, and writes another key.
    fn pending(store: &Store, reads: Option<&str>, writes: &str) -> PendingCommit {
        let mut draft = store.begin(&Owner::new("chat", QUOTA_BYTES).unwrap());
        match reads {
            Some("*") => drop(draft.scan(&Scan::all(Direction::Forward)).now_or_never().unwrap().unwrap()),
            Some(key) => drop(draft.get(key.as_bytes()).now_or_never().unwrap().unwrap()),
            None => {}
        }
        draft.put(writes.as_bytes(), "value".into()).unwrap();
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        PendingCommit { draft, answer: oneshot::channel().0, permit }
    }

    fn written(pending: &[PendingCommit]) -> Vec<String> {
        let key = |one: &PendingCommit| String::from_utf8_lossy(&one.draft.own_writes()[0].0).into_owned();
        pending.iter().map(key).collect()
    }

    #[test]
    fn a_draft_that_has_read_what_an_earlier_one_writes_is_not_in_its_batch() {
        let store = Store::in_memory(StoreLimits::default()).unwrap();
        let mut queue = LedgerQueue::default();
        for (reads, writes) in
            [(Some("a"), "a"), (Some("a"), "b"), (Some("b"), "c"), (None, "a"), (Some("x"), "d"), (Some("*"), "e")]
        {
            queue.push(pending(&store, reads, writes));
        }
        // Nobody writes `b`, because that draft isn't in the batch. A write of `a` without a read is no conflict.
        let chosen = queue.choose(usize::MAX);
        assert_eq!(written(&chosen.drafts), ["a", "c", "a", "d"]);
        assert_eq!(written(&chosen.overtaken), ["b", "e"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_batch_ends_with_the_draft_that_exceeds_its_bytes() {
        let store = Store::in_memory(StoreLimits::default()).unwrap();
        let mut queue = LedgerQueue::default();
        ["a", "b", "c"].iter().for_each(|key| queue.push(pending(&store, None, key)));
        let weight = pending(&store, None, "a").draft.weight();
        assert_eq!(written(&queue.choose(weight + 1).drafts), ["a", "b"]);
        assert_eq!(written(&queue.choose(0).drafts), ["c"], "at least one");
        assert!(queue.choose(usize::MAX).drafts.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_revision_that_is_old_enough_is_taken() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut past = Past::default();
        for seconds in 0..100 {
            past.note(Revision(seconds), at(seconds));
        }
        assert_eq!(past.noted.len(), 10, "one of ten seconds");
        assert_eq!(past.take_old(at(59)), None);
        assert_eq!(past.take_old(at(85)), Some(Revision(20)));
        assert_eq!(past.take_old(at(85)), None, "it was taken");
        assert_eq!(past.take_old(at(1000)), Some(Revision(90)));
        assert!(past.noted.is_empty());
    }
}
