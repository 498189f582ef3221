//! If a disk is full or fails for a while, no acknowledged write is lost, and the store recovers by itself.

use std::time::{Duration, Instant};

use super::*;
use crate::store::{CommitError, Existing};

async fn over(disk: &Disk) -> Store {
    Store::over(Box::new(logged(disk, 1 << 20).unwrap()), StoreLimits::default()).await.unwrap()
}

async fn put(store: &Store, key: &str, bytes: usize) -> Result<Revision, CommitError> {
    let mut draft = store.begin(&owner("chat"));
    draft.put(key.as_bytes(), vec![7; bytes].into()).unwrap();
    store.commit(draft).await
}

async fn has(store: &Store, key: &str) -> bool {
    store.begin(&owner("chat")).get(key.as_bytes()).await.unwrap().is_some()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "timed out while waiting until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_store_works_again_once_its_disk_has_room() {
    let disk = Disk::default();
    let store = over(&disk).await;
    put(&store, "before", 1000).await.unwrap();
    disk.fill(true);
    let mut early = store.begin(&owner("chat"));
    assert_eq!(early.get(b"before").await.unwrap().map(|value| value.len()), Some(1000));
    early.put(b"early", "1".into()).unwrap();
    assert!(matches!(put(&store, "lost", 1000).await, Err(CommitError::Failed(_))));
    // The failure is shown, data in memory can be read, and writes are refused at once.
    let trouble = store.trouble().unwrap();
    assert!(trouble.since_ms > 0 && !trouble.reason.is_empty(), "{trouble:?}");
    assert!(has(&store, "before").await && !has(&store, "lost").await);
    let refused = put(&store, "lost", 1).await.unwrap_err().to_string();
    assert!(refused.contains(&trouble.reason) && refused.contains("reopens it"), "{refused}");
    disk.fill(false);
    until("it works again", || store.trouble().is_none()).await;
    put(&store, "after", 1000).await.unwrap();
    assert!(has(&store, "before").await && has(&store, "after").await);
    // A call that has read before the reopening gets a conflict, because its reads may be outdated.
    assert_eq!(store.commit(early).await, Err(CommitError::Conflict));
    store.close().await;
    let store = over(&disk).await;
    assert!(has(&store, "before").await && has(&store, "after").await);
    store.close().await;
}

/// The disk fails at any write, many times, while calls continue. All acknowledged writes are there in the end and after the
/// next start, and no call is stored in part.
#[tokio::test]
async fn a_disk_that_is_full_at_times_loses_no_acknowledged_write() {
    for mut random in Random::runs(4) {
        let disk = Disk::default();
        let store = over(&disk).await;
        let mut acknowledged = Vec::new();
        for round in 0..12 {
            for at in 0..random.below(5) {
                let (one, other) = (format!("{round}-{at}"), format!("also-{round}-{at}"));
                let mut draft = store.begin(&owner("chat"));
                for key in [&one, &other] {
                    draft.put(key.as_bytes(), vec![7; 1 + random.below(60_000)].into()).unwrap();
                }
                if store.commit(draft).await.is_ok() {
                    acknowledged.push(one);
                }
            }
            disk.fill(round % 2 == 0);
            if round % 2 == 1 {
                until("it works again", || store.trouble().is_none()).await;
            }
        }
        let check = async |store: &Store| {
            for key in &acknowledged {
                assert!(has(store, key).await, "{key} is lost");
            }
            for row in store.begin(&owner("chat")).scan(&Scan::all(Direction::Forward)).await.unwrap().rows {
                let key = String::from_utf8(row.0.into()).unwrap();
                let other = key.strip_prefix("also-").map_or_else(|| format!("also-{key}"), str::to_owned);
                assert!(has(store, &other).await, "the call that wrote {key} is stored in part");
            }
        };
        check(&store).await;
        assert!(!acknowledged.is_empty());
        store.close().await;
        check(&over(&disk).await).await;
    }
}

#[tokio::test]
async fn a_store_recovers_after_a_failed_read_too() {
    let disk = Disk::default();
    let store = over(&disk).await;
    for at in 0..20 {
        put(&store, &format!("{at}"), 60_000).await.unwrap();
    }
    store.close().await;
    let store = over(&disk).await;
    disk.fail_reads(true);
    let error = store.begin(&owner("chat")).get(b"7").await.unwrap_err().to_string();
    assert!(error.contains("can't be read"), "{error}");
    until("it is noticed", || store.trouble().is_some()).await;
    disk.fail_reads(false);
    until("it works again", || store.trouble().is_none()).await;
    assert!(has(&store, "7").await);
    store.close().await;
}

/// Also reads of the host and of commands, which aren't part of a plugin's call.
#[tokio::test]
async fn a_store_recovers_after_each_kind_of_failed_read() {
    let disk = Disk::default();
    let store = over(&disk).await;
    put(&store, "key", 60_000).await.unwrap();
    let mut exported = Vec::new();
    store.export(None, &mut exported).await.unwrap();
    store.close().await;
    // Without a cache, so that each read needs the disk.
    let store = Store::over(Box::new(logged(&disk, 0).unwrap()), StoreLimits::default()).await.unwrap();
    let (chat, other) = (owner("chat"), owner("other"));
    for reading in ["a room", "a page of former states", "usages", "a rename", "an export", "an import"] {
        disk.fail_reads(true);
        let is_failed = match reading {
            "a room" => store.begin(&chat).room("room:1").await.is_err(),
            "a page of former states" => store.begin(&chat).formers_after(None).await.is_err(),
            "usages" => store.usages().await.is_err(),
            "a rename" => store.rename(&chat, &other).await.is_err(),
            "an export" => store.export(None, &mut Vec::new()).await.is_err(),
            _ => store.import(&mut &exported[..], Existing::Replace).await.is_err(),
        };
        assert!(is_failed, "{reading}");
        until(&format!("{reading} is noticed"), || store.trouble().is_some()).await;
        disk.fail_reads(false);
        until(&format!("it works again after {reading}"), || store.trouble().is_none()).await;
    }
    store.close().await;
}

#[tokio::test]
async fn a_store_whose_thread_died_shows_the_failure() {
    struct Panics(Memory);
    impl Engine for Panics {
        fn snapshot(&mut self) -> crate::store::EngineFuture<'_, Arc<dyn crate::store::Snapshot>> {
            self.0.snapshot()
        }

        fn apply<'a>(&'a mut self, writes: &'a crate::store::Writes) -> crate::store::EngineFuture<'a, ()> {
            assert!(writes.len() == 1, "a panic that the test wants");
            self.0.apply(writes)
        }
    }
    let store = Store::over(Box::new(Panics(Memory::default())), StoreLimits::default()).await.unwrap();
    assert_eq!(store.trouble(), None);
    assert!(put(&store, "a", 1).await.is_err());
    until("it is shown", || store.trouble().is_some_and(|trouble| trouble.reason.contains("thread died"))).await;
}

#[tokio::test]
async fn ids_continue_after_those_of_a_host_that_was_killed() {
    let disk = Disk::default();
    let store = over(&disk).await;
    assert_eq!(store.keep_ids().await, Ok(None));
    let last = store.unique_id();
    // The power fails, and the clock is an hour behind at the next start.
    disk.cut();
    let found = disk.after_crash(disk::Unsynced::Forgotten, &mut Random::new(1));
    store.close().await;
    let store = over(&found).await;
    let hour_ago = crate::store::health::now_ms() - 3_600_000;
    store.keep_ids().await.unwrap();
    let next = store.ids().draw(hour_ago).0;
    assert!(next > last, "{next} {last}");
    // The host ends normally.
    store.close().await;
    let store = over(&found).await;
    assert!(store.ids().draw(hour_ago).0 > next);
    store.close().await;
}

/// The clock jumps a year ahead and back.
#[tokio::test]
async fn a_clock_that_was_ahead_is_reported_and_later_ids_keep_their_order() {
    const YEAR_MS: u64 = 365 * 86_400_000;
    let disk = Disk::default();
    let store = over(&disk).await;
    store.keep_ids().await.unwrap();
    let ahead = crate::store::health::now_ms() + YEAR_MS;
    // At first the mark isn't that far ahead.
    assert!(store.ids().draw(ahead).1);
    assert!(store.ids().last_ms() < ahead);
    // Then the mark is written, with that clock.
    store.ids().go_past(ahead);
    store.keep_ids().await.unwrap();
    let last = store.unique_id();
    store.close().await;
    let store = over(&disk).await;
    let behind = store.keep_ids().await.unwrap().expect("the difference is reported");
    assert!(behind > Duration::from_millis(YEAR_MS - 3_600_000), "{behind:?}");
    assert!(store.unique_id() > last);
    store.close().await;
}
