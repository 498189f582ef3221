//! Commits that share a sync, fail together, or wait while the store closes; and engines that fail.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::disk::{Disk, Unsynced};
use super::*;
use crate::store::engine::{EngineError, EngineFuture, Snapshot, Writes};
use crate::store::{CommitError, metadata};

type Outcome = Result<Revision, CommitError>;

async fn over(disk: &Disk, limits: StoreLimits) -> Store {
    let store = Store::over(Box::new(logged(disk, 1 << 20).unwrap()), limits).await.unwrap();
    // redb syncs once more when the file grows. After this commit, the file has room.
    let mut ballast = store.begin(&owner("ballast"));
    ballast.put(b"ballast", vec![0; 400_000].into()).unwrap();
    store.commit(ballast).await.unwrap();
    store
}

fn one(store: &Store, key: &str, bytes: usize) -> Draft {
    let mut draft = store.begin(&owner("chat"));
    draft.put(key.as_bytes(), vec![0; bytes].into()).unwrap();
    draft
}

/// Begins a commit. When this returns, the commit waits in the queue, or for room in the queue.
fn begun(store: &Store, draft: Draft) -> tokio::task::JoinHandle<Outcome> {
    let store = store.clone();
    let mut commit = Box::pin(async move { store.commit(draft).await });
    assert!((&mut commit).now_or_never().is_none());
    tokio::spawn(commit)
}

/// Returns a store whose committer waits in a sync, and the commit that is being synced.
async fn held(disk: &Disk, limits: StoreLimits) -> (Store, tokio::task::JoinHandle<Outcome>) {
    let store = over(disk, limits).await;
    disk.hold();
    let first = begun(&store, one(&store, "first", 1));
    disk.wait_for_sync();
    (store, first)
}

async fn keys(store: &Store) -> Vec<String> {
    let page = store.begin(&owner("chat")).scan(&Scan::all(Direction::Forward)).await.unwrap();
    page.rows.iter().map(|(key, _)| key.escape_ascii().to_string()).collect()
}

#[tokio::test]
async fn all_waiting_commits_share_one_sync() {
    let disk = Disk::default();
    let store = over(&disk, StoreLimits::default()).await;
    let before = disk.syncs();
    store.commit(one(&store, "alone", 10)).await.unwrap();
    assert_eq!(disk.syncs() - before, 1);
    store.close().await;
    let (store, first) = held(&disk, StoreLimits::default()).await;
    let before = disk.syncs();
    let rest: Vec<_> = (0..50).map(|n| begun(&store, one(&store, &format!("{n:02}"), 10))).collect();
    disk.release();
    let first = first.await.unwrap().unwrap();
    for one in rest {
        assert_eq!(one.await.unwrap(), Ok(first.next()));
    }
    assert_eq!(disk.syncs() - before, 2);
    assert_eq!(keys(&store).await.len(), 52);
    store.close().await;
}

#[tokio::test]
async fn a_batch_is_limited_in_bytes_and_has_at_least_one_call() {
    let disk = Disk::default();
    let (store, first) = held(&disk, StoreLimits { batch_bytes: 1, ..StoreLimits::default() }).await;
    let before = disk.syncs();
    let rest: Vec<_> = (0..5).map(|n| begun(&store, one(&store, &format!("{n}"), 1000))).collect();
    disk.release();
    first.await.unwrap().unwrap();
    for one in rest {
        one.await.unwrap().unwrap();
    }
    assert_eq!(disk.syncs() - before, 6);
    store.close().await;
}

#[tokio::test]
async fn a_close_commits_the_queue_and_refuses_calls_that_wait_for_room() {
    let disk = Disk::default();
    let limits = StoreLimits { waiting_bytes: 10_000, ..StoreLimits::default() };
    let (store, first) = held(&disk, limits).await;
    let inside = begun(&store, one(&store, "inside", 6000));
    let outside = begun(&store, one(&store, "outside", 6000));
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    // It is refused, because the store closes before there is room.
    assert_eq!(outside.await.unwrap(), Err(CommitError::Stopping));
    disk.release();
    closing.await.unwrap();
    first.await.unwrap().unwrap();
    inside.await.unwrap().unwrap();
    assert_eq!(store.commit(one(&store, "late", 1)).await, Err(CommitError::Stopping));
    store.close().await;
    // A draft that is larger than the queue is accepted when the queue is empty.
    let store = over(&disk, limits).await;
    store.commit(one(&store, "large", 100_000)).await.unwrap();
    assert_eq!(keys(&store).await, ["first", "inside", "large"]);
    store.close().await;
}

#[tokio::test]
async fn a_failed_sync_fails_all_its_commits_and_shows_none_of_their_writes() {
    let disk = Disk::default();
    let (store, first) = held(&disk, StoreLimits::default()).await;
    disk.cut();
    let second = begun(&store, one(&store, "second", 1));
    disk.release();
    for failed in [first, second] {
        assert!(matches!(failed.await.unwrap(), Err(CommitError::Failed(_))));
    }
    assert_eq!(store.begin(&owner("chat")).seen.revision, Revision::default().next());
    store.close().await;
    let disk = disk.after_crash(Unsynced::Forgotten, &mut Random::new(1));
    assert_eq!(keys(&over(&disk, StoreLimits::default()).await).await, [""; 0]);
}

#[tokio::test]
async fn a_commit_whose_caller_stops_waiting_is_not_cancelled() {
    let disk = Disk::default();
    let (store, first) = held(&disk, StoreLimits::default()).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    disk.release();
    store.commit(one(&store, "second", 1)).await.unwrap();
    assert_eq!(keys(&store).await, ["first", "second"]);
}

#[tokio::test]
async fn a_store_in_memory_refuses_commits_after_a_close_too() {
    let store = memory();
    store.commit(one(&store, "a", 1)).await.unwrap();
    store.close().await;
    assert_eq!(store.commit(one(&store, "b", 1)).await, Err(CommitError::Stopping));
    // A rename writes without a call's draft.
    assert!(store.rename(&owner("chat"), &owner("other")).await.is_err());
    assert_eq!(keys(&store).await, ["a"]);
}

/// The fault of an engine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoWrites,
    NoSnapshots,
    Panics,
}

/// An engine with faults. Its sender is dropped together with it, so a test can see when it is gone.
struct Faulty {
    inner: Memory,
    fault: Arc<Mutex<Option<Fault>>>,
    _gone: Sender<()>,
}

impl Faulty {
    fn new() -> (Self, Arc<Mutex<Option<Fault>>>, Receiver<()>) {
        let (gone, is_gone) = channel();
        let fault = Arc::default();
        (Self { inner: Memory::default(), fault: Arc::clone(&fault), _gone: gone }, fault, is_gone)
    }

    fn has(&self, fault: Fault) -> bool {
        *self.fault.lock().unwrap() == Some(fault)
    }
}

impl Engine for Faulty {
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>> {
        if self.has(Fault::NoSnapshots) {
            return Box::pin(std::future::ready(Err(EngineError::new("no snapshot"))));
        }
        self.inner.snapshot()
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()> {
        assert!(!self.has(Fault::Panics), "a panic that the test wants");
        if self.has(Fault::NoWrites) {
            return Box::pin(std::future::ready(Err(EngineError::new("no space"))));
        }
        self.inner.apply(writes)
    }
}

#[tokio::test]
async fn a_failed_batch_does_not_affect_later_commits() {
    let (engine, fault, _) = Faulty::new();
    let store = Store::over(Box::new(engine), StoreLimits::default()).await.unwrap();
    let mut reader = one(&store, "reader", 1);
    assert_eq!(reader.get(b"a").await.unwrap(), None);
    *fault.lock().unwrap() = Some(Fault::NoWrites);
    assert_eq!(store.commit(one(&store, "a", 1)).await, Err(CommitError::Failed(EngineError::new("no space"))));
    *fault.lock().unwrap() = None;
    store.commit(reader).await.unwrap();
    assert_eq!((keys(&store).await, store.usage("chat").await.unwrap()), (vec!["reader".to_owned()], 7));
}

#[tokio::test]
async fn a_snapshot_that_failed_is_taken_before_more_is_written() {
    let (engine, fault, _) = Faulty::new();
    let store = Store::over(Box::new(engine), StoreLimits::default()).await.unwrap();
    let mut reader = one(&store, "c", 1);
    assert_eq!(reader.get(b"a").await.unwrap(), None);
    *fault.lock().unwrap() = Some(Fault::NoSnapshots);
    store.commit(one(&store, "a", 1)).await.unwrap();
    assert!(matches!(store.commit(one(&store, "b", 1)).await, Err(CommitError::Failed(_))));
    *fault.lock().unwrap() = None;
    assert_eq!(store.commit(reader).await, Err(CommitError::Conflict));
    store.commit(one(&store, "a", 5)).await.unwrap();
    assert_eq!((keys(&store).await, store.usage("chat").await.unwrap()), (vec!["a".to_owned()], 6));
}

#[tokio::test]
async fn commits_fail_if_the_engine_panics() {
    let (engine, fault, _) = Faulty::new();
    let store = Store::over(Box::new(engine), StoreLimits::default()).await.unwrap();
    *fault.lock().unwrap() = Some(Fault::Panics);
    for _ in 0..2 {
        assert!(matches!(store.commit(one(&store, "a", 1)).await, Err(CommitError::Failed(_))));
    }
    store.close().await;
}

#[tokio::test]
async fn the_engine_is_dropped_with_the_last_handle() {
    let (engine, _, gone) = Faulty::new();
    let store = Store::over(Box::new(engine), StoreLimits::default()).await.unwrap();
    let other = store.clone();
    drop(store);
    other.commit(one(&other, "a", 1)).await.unwrap();
    drop(other);
    // Nothing is ever sent: this waits until the sender is dropped.
    assert!(gone.recv().is_err());
}

#[tokio::test]
async fn a_store_of_another_format_is_refused() {
    let mut engine = Memory::default();
    engine.apply(&Writes::from([(metadata::format(), Some(metadata::entry(4)))])).await.unwrap();
    let error = Store::over(Box::new(engine), StoreLimits::default()).await.err().unwrap().to_string();
    assert!(error.contains("format 4, and this version of bennu knows format 3: export it with"), "{error}");
}

#[tokio::test]
async fn a_directory_is_opened_once_at_a_time_and_keeps_commits() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path(), StoreLimits::default()).await.unwrap();
    store.commit(one(&store, "a", 1)).await.unwrap();
    assert!(Store::open(place.path(), StoreLimits::default()).await.is_err());
    // A draft that still exists doesn't keep the file open.
    let draft = store.begin(&owner("chat"));
    store.close().await;
    let store = Store::open(place.path(), StoreLimits::default()).await.unwrap();
    assert_eq!(keys(&store).await, ["a"]);
    drop(draft);
    store.close().await;
}
