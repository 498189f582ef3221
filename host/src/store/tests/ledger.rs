//! The committer of a ledger: which drafts go into which batch, and what their calls are told. The ledger does what each test says.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::store::counts::StoreCounts;
use crate::store::engine::{EngineError, EngineFuture, Rows, Snapshot, Span};
use crate::store::footprint::Footprint;
use crate::store::ledger::{Answer, DraftResult, Ledger};
use crate::store::{CommitError, metadata};

/// What a ledger was asked, and where its answer goes.
#[derive(Debug)]
enum Asked {
    Batch { plugin: String, keys: Vec<String>, answer: oneshot::Sender<Result<Answer, EngineError>> },
    Prune(String, Revision),
    Raise(u64),
    Close,
}

/// A ledger without rows.
struct Scripted {
    asked: mpsc::UnboundedSender<Asked>,
    /// What a check of reads answers.
    is_current: Mutex<bool>,
}

/// All reads are of revision 7, and find nothing.
struct Empty;

impl Snapshot for Empty {
    fn get<'a>(&'a self, _: &'a [u8]) -> EngineFuture<'a, Option<Bytes>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn scan<'a>(&'a self, _: &'a Span, _: Direction, _: ScanLimit) -> EngineFuture<'a, Rows> {
        Box::pin(std::future::ready(Ok(Rows { rows: Vec::new(), ended: true })))
    }

    fn since(&self) -> Option<Revision> {
        Some(Revision(7))
    }
}

impl Ledger for Scripted {
    fn view(&self, _: &str) -> Arc<dyn Snapshot> {
        Arc::new(Empty)
    }

    fn latest(&self) -> Arc<dyn Snapshot> {
        Arc::new(Empty)
    }

    fn moment(&self) -> Arc<dyn Snapshot> {
        Arc::new(Empty)
    }

    fn commit<'a>(&'a self, plugin: &'a str, drafts: &'a [Draft]) -> EngineFuture<'a, Answer> {
        Box::pin(async move {
            let keys = drafts.iter().flat_map(Draft::own_writes).map(|(key, _)| text(&key)).collect();
            let (answer, answered) = oneshot::channel();
            self.asked.send(Asked::Batch { plugin: plugin.to_owned(), keys, answer }).unwrap();
            answered.await.unwrap()
        })
    }

    fn is_current<'a>(&'a self, _: &'a str, since: Revision, _: &'a Footprint) -> EngineFuture<'a, bool> {
        assert_eq!(since, Revision(7));
        Box::pin(std::future::ready(Ok(*self.is_current.lock().unwrap())))
    }

    fn raise(&self, place: Bytes, number: u64) -> EngineFuture<'_, ()> {
        if place == metadata::mark() {
            self.asked.send(Asked::Raise(number)).unwrap();
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn prune<'a>(&'a self, plugin: &'a str, up_to: Revision) -> EngineFuture<'a, ()> {
        self.asked.send(Asked::Prune(plugin.to_owned(), up_to)).unwrap();
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(&self) -> EngineFuture<'_, ()> {
        self.asked.send(Asked::Close).unwrap();
        Box::pin(std::future::ready(Ok(())))
    }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

async fn scripted() -> (Store, Arc<Scripted>, mpsc::UnboundedReceiver<Asked>) {
    let (asked, receiver) = mpsc::unbounded_channel();
    let ledger = Arc::new(Scripted { asked, is_current: Mutex::new(true) });
    let store =
        Store::over_ledger(Arc::clone(&ledger) as Arc<dyn Ledger>, StoreLimits::default(), StoreCounts::new(None));
    (store.await.unwrap(), ledger, receiver)
}

/// Begins to commit a draft that reads a key, if one is given, and writes another one.
fn commit(
    store: &Store,
    plugin: &str,
    reads: Option<&str>,
    writes: &str,
) -> tokio::task::JoinHandle<Result<Revision, CommitError>> {
    let mut draft = store.begin(&owner(plugin));
    if let Some(key) = reads {
        now(draft.get(key.as_bytes())).unwrap();
    }
    draft.put(writes.as_bytes(), "value".into()).unwrap();
    let store = store.clone();
    tokio::spawn(async move { store.commit(draft).await })
}

type Batch = (String, Vec<String>, oneshot::Sender<Result<Answer, EngineError>>);

async fn batch(asked: &mut mpsc::UnboundedReceiver<Asked>) -> Batch {
    match asked.recv().await.unwrap() {
        Asked::Batch { plugin, keys, answer } => (plugin, keys, answer),
        other => panic!("{other:?}"),
    }
}

/// Lets all tasks run until they wait.
async fn settled() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn stored(revision: u64, count: usize) -> Result<Answer, EngineError> {
    Ok(Answer { revision: Revision(revision), results: vec![DraftResult::Stored; count] })
}

#[tokio::test(start_paused = true)]
async fn a_plugin_has_one_batch_under_way_and_waits_for_no_other_plugin() {
    let (store, _, mut asked) = scripted().await;
    let first = commit(&store, "chat", None, "a");
    let (plugin, keys, answer) = batch(&mut asked).await;
    assert_eq!((&*plugin, &*keys), ("chat", &["a".to_owned()][..]));
    // These wait for it, and are the next batch together.
    let waiting = [commit(&store, "chat", None, "b"), commit(&store, "chat", Some("x"), "c")];
    settled().await;
    let other = commit(&store, "game", None, "d");
    let (plugin, _, of_other) = batch(&mut asked).await;
    assert!(plugin == "game" && asked.try_recv().is_err());
    of_other.send(stored(1, 1)).unwrap();
    assert_eq!(other.await.unwrap(), Ok(Revision(1)));
    answer.send(stored(8, 1)).unwrap();
    assert_eq!(first.await.unwrap(), Ok(Revision(8)));
    let (_, keys, answer) = batch(&mut asked).await;
    assert_eq!(keys, ["b", "c"]);
    let results = vec![DraftResult::OverQuota(9), DraftResult::Conflict];
    answer.send(Ok(Answer { revision: Revision(8), results })).unwrap();
    let [quota, conflict] = waiting;
    assert!(matches!(quota.await.unwrap(), Err(CommitError::Quota { bytes: 9, .. })));
    assert_eq!(conflict.await.unwrap(), Err(CommitError::Conflict));
    let counts = store.counts();
    assert_eq!((counts.commits(), counts.conflicts(), counts.over_quota()), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_draft_that_has_read_what_its_batch_writes_is_told_of_a_conflict_after_the_batch() {
    let (store, _, mut asked) = scripted().await;
    let first = commit(&store, "chat", None, "begin");
    let (_, _, answer) = batch(&mut asked).await;
    let writes = commit(&store, "chat", None, "a");
    settled().await;
    let reads = commit(&store, "chat", Some("a"), "b");
    settled().await;
    answer.send(stored(8, 1)).unwrap();
    first.await.unwrap().unwrap();
    let (_, keys, answer) = batch(&mut asked).await;
    assert_eq!(keys, ["a"]);
    settled().await;
    // Otherwise its call would run again before it can see the write.
    assert!(!reads.is_finished());
    answer.send(stored(9, 1)).unwrap();
    assert_eq!((writes.await.unwrap(), reads.await.unwrap()), (Ok(Revision(9)), Err(CommitError::Conflict)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_is_a_trouble_until_the_ledger_works() {
    let (store, _, mut asked) = scripted().await;
    let first = commit(&store, "chat", None, "a");
    let (_, _, answer) = batch(&mut asked).await;
    answer.send(Err(EngineError::broken("no answer"))).unwrap();
    let failed = first.await.unwrap().unwrap_err();
    assert!(failed.is_uncertain() && store.trouble().unwrap().reason == "no answer");
    let second = commit(&store, "chat", None, "a");
    let (_, _, answer) = batch(&mut asked).await;
    answer.send(stored(8, 1)).unwrap();
    assert!(second.await.unwrap().is_ok() && store.trouble().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_all_drafts_and_writes_the_last_mark() {
    let (store, _, mut asked) = scripted().await;
    assert_eq!(store.keep_ids().await.unwrap(), None);
    assert!(matches!(asked.recv().await, Some(Asked::Raise(number)) if number > 0));
    let first = commit(&store, "chat", None, "a");
    let (_, _, answer) = batch(&mut asked).await;
    let second = commit(&store, "chat", None, "b");
    settled().await;
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    settled().await;
    assert_eq!(commit(&store, "chat", None, "c").await.unwrap(), Err(CommitError::Stopping));
    answer.send(stored(8, 1)).unwrap();
    let (_, keys, answer) = batch(&mut asked).await;
    assert!(keys == ["b"] && !closing.is_finished());
    answer.send(stored(9, 1)).unwrap();
    closing.await.unwrap();
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    assert!(matches!(asked.recv().await, Some(Asked::Raise(1..))) && matches!(asked.recv().await, Some(Asked::Close)));
}

#[tokio::test(start_paused = true)]
async fn what_nodes_do_not_write_is_refused_before_the_ledger_is_asked() {
    let (store, _, mut asked) = scripted().await;
    let chat = owner("chat");
    let mut draft = store.begin(&chat);
    draft.set_room("room:1", Some("state".into())).unwrap();
    assert_eq!(store.commit(draft).await, Err(CommitError::NotShared("durable rooms")));
    let mut draft = store.begin(&chat);
    draft.set_former("room:1", None).unwrap();
    draft.put(b"key", "value".into()).unwrap();
    assert_eq!(store.commit(draft).await, Err(CommitError::NotShared("durable rooms")));
    assert!(asked.try_recv().is_err());
    assert!(store.release().await.is_err() && store.rename(&chat, &owner("other")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_reader_asks_whether_its_reads_are_current() {
    let (store, ledger, _asked) = scripted().await;
    let mut draft = store.begin(&owner("chat"));
    assert!(store.is_current(&draft).await.unwrap(), "it has read nothing");
    draft.get(b"key").await.unwrap();
    assert!(store.is_current(&draft).await.unwrap());
    *ledger.is_current.lock().unwrap() = false;
    assert!(!store.is_current(&draft).await.unwrap());
    // What it has read before a pause counts from its revision.
    let resumed = store.resume(draft.pause());
    assert_eq!(resumed.since(), Revision(7));
}

#[tokio::test(start_paused = true)]
async fn writes_of_more_than_a_minute_ago_are_forgotten() {
    let (store, _, mut asked) = scripted().await;
    for revision in 1..=9 {
        let committing = commit(&store, "chat", None, "a");
        let (_, _, answer) = batch(&mut asked).await;
        answer.send(stored(revision, 1)).unwrap();
        committing.await.unwrap().unwrap();
        // The last ones are after less than a minute.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(asked.try_recv().is_err(), "revision {revision}");
    }
    let Some(Asked::Prune(plugin, up_to)) = asked.recv().await else { panic!("nothing is forgotten") };
    assert!(plugin == "chat" && (Revision(1)..Revision(9)).contains(&up_to), "{up_to:?}");
}
