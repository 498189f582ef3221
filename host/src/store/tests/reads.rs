//! Reads from a slow disk don't block the thread that asks.

use std::future::pending;
use std::time::Duration;

use super::*;

/// The number of keys. Their values together are larger than the cache of a [`cold`] store with `cache_bytes = 0`.
const KEYS: usize = 400;

fn key(at: usize) -> String {
    format!("key-{at:04}")
}

/// Fills a store, and reopens it on the same disk with another cache.
async fn cold(disk: &Disk, cache_bytes: usize) -> Store {
    let store = Store::over(Box::new(logged(disk, 1 << 20).unwrap()), StoreLimits::default()).await.unwrap();
    let mut draft = store.begin(&owner("chat"));
    for at in 0..KEYS {
        draft.put(key(at).as_bytes(), vec![at as u8; 2000].into()).unwrap();
    }
    store.commit(draft).await.unwrap();
    store.close().await;
    Store::over(Box::new(logged(disk, cache_bytes).unwrap()), StoreLimits::default()).await.unwrap()
}

/// Returns the output of a future, which must be ready within 30 s.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("the output is ready in time")
}

/// The runtime has one thread. If a read blocked it, nothing else could run.
#[tokio::test]
async fn a_read_that_waits_for_the_disk_does_not_block_its_thread() {
    let disk = Disk::default();
    let store = cold(&disk, 0).await;
    disk.slow_down(true);
    let reading = tokio::spawn({
        let mut draft = store.begin(&owner("chat"));
        async move { draft.get(key(7).as_bytes()).await }
    });
    let scanning = tokio::spawn({
        let mut draft = store.begin(&owner("chat"));
        async move { draft.scan(&Scan::all(Direction::Backward).limit(3)).await }
    });
    soon(async {
        while disk.reading() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!reading.is_finished() && !scanning.is_finished());
    disk.slow_down(false);
    assert_eq!(soon(reading).await.unwrap().unwrap(), Some(vec![7; 2000].into()));
    assert_eq!(soon(scanning).await.unwrap().unwrap().rows[0].0, key(KEYS - 1));
    store.close().await;
}

#[tokio::test]
async fn data_in_memory_is_read_at_once_even_while_the_disk_is_slow() {
    let disk = Disk::default();
    let store = cold(&disk, 16 << 20).await;
    let all = Scan::all(Direction::Forward);
    let first = store.begin(&owner("chat")).scan(&all).await.unwrap();
    disk.slow_down(true);
    let mut draft = store.begin(&owner("chat"));
    assert_eq!(now(draft.scan(&all)).unwrap(), first);
    for at in 0..KEYS {
        assert_eq!(now(draft.get(key(at).as_bytes())).unwrap(), Some(vec![at as u8; 2000].into()));
    }
    disk.slow_down(false);
    store.close().await;
}

/// The cache is nearly empty, so almost every read is given up first. Many tasks read at once, between commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_are_given_up_leave_the_database_as_it_was() {
    let disk = Disk::default();
    let store = cold(&disk, 0).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for round in 0..100 {
                let at = (task * 53 + round * 7) % KEYS;
                let mut draft = store.begin(&owner("chat"));
                assert_eq!(draft.get(key(at).as_bytes()).await.unwrap(), Some(vec![at as u8; 2000].into()));
                let page = draft.scan(&Scan::prefix(b"key-", Direction::Forward).limit(5)).await.unwrap();
                assert_eq!(page.rows.len(), 5);
                if round % 10 == 0 {
                    let mut draft = store.begin(&owner("other"));
                    draft.put(format!("{task}").as_bytes(), vec![1; 3000].into()).unwrap();
                    store.commit(draft).await.unwrap();
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(store.trouble(), None);
    store.close().await;
    // It was closed normally, so it is opened without a repair.
    let store = Store::over(Box::new(logged(&disk, 1 << 20).unwrap()), StoreLimits::default()).await.unwrap();
    assert_eq!(store.begin(&owner("chat")).scan(&Scan::all(Direction::Forward)).await.unwrap().rows.len(), KEYS);
    store.close().await;
}

/// Many reads wait for a slow disk, but only 32 of them take a thread.
#[tokio::test]
async fn the_reads_that_wait_on_threads_at_once_are_limited() {
    let disk = Disk::default();
    let store = cold(&disk, 0).await;
    disk.slow_down(true);
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..100 {
        let mut draft = store.begin(&owner("chat"));
        tasks.spawn(async move { draft.get(key(at).as_bytes()).await.unwrap().unwrap() });
    }
    soon(async {
        while disk.reading() < 32 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // After a moment, there are still no more.
    let abandoned = tokio::time::timeout(Duration::from_millis(1), pending::<()>());
    assert!(abandoned.await.is_err());
    assert_eq!(disk.reading(), 32);
    disk.slow_down(false);
    while let Some(done) = soon(tasks.join_next()).await {
        done.unwrap();
    }
    store.close().await;
}
