//! The log in front of the tree: its layers, checkpoints, the wait for one, and the files.

use std::time::{Duration, Instant};

use super::engines::{Map, SMALL, carry_out, compare, some_writes};
use super::*;
use crate::store::embedded::Embedded;
use crate::store::engine::{Snapshot, Writes};
use crate::store::{directory, metadata};

fn row(key: &str, value: &str) -> Writes {
    Writes::from([(Bytes::copy_from_slice(key.as_bytes()), Some(Bytes::copy_from_slice(value.as_bytes())))])
}

fn apply(engine: &mut Logged, map: &mut Map, writes: &Writes) {
    now(engine.apply(writes)).unwrap();
    carry_out(map, writes);
}

/// The tree has rows, a checkpoint waits for its sync, and the active table has rows too. All of them have deletions.
#[test]
fn snapshots_show_the_rows_of_all_layers_and_do_not_change_with_a_checkpoint() {
    for mut random in Random::runs(15) {
        let disk = Disk::default();
        let limits = LogLimits { batch_bytes: 1 << 20, ..SMALL };
        let mut engine = logged_with(&disk, 1 << 20, limits).unwrap();
        let (mut map, mut snapshots) = (Map::new(), Vec::<(Arc<dyn Snapshot>, Map)>::new());
        for _ in 0..20 {
            apply(&mut engine, &mut map, &some_writes(&mut random));
        }
        engine.wait_for_checkpoint().unwrap();
        disk.hold_file();
        while !engine.has_frozen_rows() {
            apply(&mut engine, &mut map, &some_writes(&mut random));
            snapshots.push((now(engine.snapshot()).unwrap(), map.clone()));
        }
        for _ in 0..2 {
            apply(&mut engine, &mut map, &some_writes(&mut random));
            snapshots.push((now(engine.snapshot()).unwrap(), map.clone()));
        }
        snapshots.drain(..snapshots.len().saturating_sub(6));
        let check = |random: &mut Random| {
            for (snapshot, map) in &snapshots {
                (0..5).for_each(|_| compare("all layers", &**snapshot, map, random));
            }
        };
        check(&mut random);
        disk.release();
        engine.wait_for_checkpoint().unwrap();
        check(&mut random);
        apply(&mut engine, &mut map, &row("later", "than all snapshots"));
        check(&mut random);
        now(engine.close()).unwrap();
        check(&mut random);
        drop(engine);
        let mut engine = logged(&disk, 1 << 20).unwrap();
        compare("after the end", &*now(engine.snapshot()).unwrap(), &map, &mut random);
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "timed out while waiting until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn put(store: &Store, key: usize) -> Draft {
    let mut draft = store.begin(&owner("chat"));
    draft.put(key.to_string().as_bytes(), vec![7; 100].into()).unwrap();
    draft
}

#[tokio::test]
async fn commits_go_on_during_a_checkpoint_and_wait_for_it_if_the_next_table_is_full() {
    let disk = Disk::default();
    let store =
        Store::over(Box::new(logged_with(&disk, 1 << 20, SMALL).unwrap()), StoreLimits::default()).await.unwrap();
    store.commit(put(&store, 0)).await.unwrap();
    disk.hold_file();
    let mut count = 1;
    // The first table, which is frozen then, and the second one.
    let waiting = loop {
        let (store, draft) = (store.clone(), put(&store, count));
        let log = store.clone();
        let commit = tokio::spawn(async move { store.commit(draft).await });
        until("the commit is stored or waits", || commit.is_finished() || log.log_counts().waits() > 0).await;
        if !commit.is_finished() {
            break commit;
        }
        commit.await.unwrap().unwrap();
        count += 1;
        assert!(count < 100, "no commit waits");
    };
    assert!(count > 5, "{count} commits");
    assert!(store.log_counts().bytes() as usize > count * 100);
    // Reads don't wait.
    for key in 0..count {
        assert!(store.begin(&owner("chat")).get(key.to_string().as_bytes()).await.unwrap().is_some());
    }
    disk.release();
    waiting.await.unwrap().unwrap();
    assert!(store.log_counts().checkpoints() > 0 && store.log_counts().waits() == 1);
    assert_eq!(store.begin(&owner("chat")).scan(&Scan::all(Direction::Forward)).await.unwrap().rows.len(), count + 1);
    store.close().await;
}

/// After a failure, the handles of the files may have unread errors, and the system's memory may have wrong pages.
#[test]
fn a_reopening_opens_all_files_again() {
    let disk = Disk::default();
    let opened = Arc::new(std::sync::Mutex::new([0; 3]));
    let open = |disk: &Disk| {
        let (disk, opened) = (disk.clone(), Arc::clone(&opened));
        move |file: usize| {
            opened.lock().unwrap()[file] += 1;
            if file == 0 { disk.clone() } else { disk.log(file - 1) }
        }
    };
    let (tree, log) = (open(&disk), open(&disk));
    let mut engine = Logged::over(move || tree(0), move |which| log(1 + which), 1 << 20, SMALL).unwrap();
    let mut map = Map::new();
    apply(&mut engine, &mut map, &row("tree", "1"));
    apply(&mut engine, &mut map, &row("log", "1"));
    assert_eq!(*opened.lock().unwrap(), [1; 3]);
    now(engine.reopen()).unwrap();
    assert_eq!(*opened.lock().unwrap(), [2; 3]);
    (0..20).for_each(|seed| compare("reopened", &*now(engine.snapshot()).unwrap(), &map, &mut Random::new(seed)));
}

/// However many commits wait, a batch of small ones goes to the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_large_commits_go_to_the_tree_directly() {
    let disk = Disk::default();
    let store = Store::over(Box::new(logged(&disk, 1 << 20).unwrap()), StoreLimits::default()).await.unwrap();
    store.commit(put(&store, 0)).await.unwrap();
    disk.hold();
    let commits: Vec<_> = (1..3000)
        .map(|key| {
            let (store, draft) = (store.clone(), put(&store, key));
            tokio::spawn(async move { store.commit(draft).await })
        })
        .collect();
    disk.wait_for_sync();
    let before = disk.content();
    disk.release();
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    assert!(disk.content() == before);
    let mut large = store.begin(&owner("chat"));
    large.put(b"large", vec![7; 1 << 20].into()).unwrap();
    store.commit(large).await.unwrap();
    assert!(disk.content() != before && store.log_counts().bytes() == 0);
    assert_eq!(store.begin(&owner("chat")).scan(&Scan::all(Direction::Backward)).await.unwrap().rows.len(), 1);
    store.close().await;
}

/// redb doesn't work after a panic, so the store may need another start. But it fails visibly, and nothing is lost.
#[tokio::test]
async fn a_checkpoint_that_panics_is_a_failure_of_the_store() {
    let disk = Disk::default();
    let engine = logged_with(&disk, 1 << 20, SMALL).unwrap();
    let store = Store::over(Box::new(engine), StoreLimits::default()).await.unwrap();
    let mut count = 0;
    while store.commit(put(&store, count)).await.is_ok() {
        count += 1;
        disk.panic_at_sync();
        assert!(count < 100, "no checkpoint has panicked");
    }
    until("the failure is shown", || store.trouble().is_some()).await;
    let found = disk.after_crash(disk::Unsynced::Forgotten, &mut Random::new(1));
    let store = Store::over(Box::new(logged(&found, 1 << 20).unwrap()), StoreLimits::default()).await.unwrap();
    let stored = store.begin(&owner("chat")).scan(&Scan::all(Direction::Forward)).await.unwrap().rows.len();
    assert!(count > 3 && (count..=count + 1).contains(&stored), "{stored} of {count}");
    store.close().await;
}

/// A host that doesn't know the log refuses the store from the first record on.
#[tokio::test]
async fn a_store_of_the_first_format_has_the_later_one_before_a_record_is_acknowledged() {
    let disk = Disk::default();
    let tree = |disk: &Disk| {
        let disk = disk.clone();
        Embedded::over(move || disk.clone(), 1 << 20).unwrap()
    };
    let format = async |disk: &Disk| {
        let disk = disk.after_crash(disk::Unsynced::Forgotten, &mut Random::new(1));
        metadata::read(&*tree(&disk).view().unwrap(), &metadata::format()).await.unwrap()
    };
    let first = (metadata::format(), Some(metadata::entry(metadata::FIRST_FORMAT)));
    let old = (owner("chat").place(crate::store::space::Kind::Keys, b"old"), Some("value".into()));
    tree(&disk).writer().write([first, old].into_iter(), None).unwrap();
    for (records, key) in ["a", "b", "c"].into_iter().enumerate() {
        let store = Store::over(Box::new(logged(&disk, 1 << 20).unwrap()), StoreLimits::default()).await.unwrap();
        assert_eq!(
            format(&disk).await,
            Some(if records == 0 { 1 } else { metadata::FORMAT }),
            "nothing is written by opening it"
        );
        for _ in 0..=records {
            let mut draft = store.begin(&owner("chat"));
            draft.put(key.as_bytes(), "value".into()).unwrap();
            store.commit(draft).await.unwrap();
            assert_eq!(format(&disk).await, Some(metadata::FORMAT));
        }
        store.close().await;
    }
    let store = Store::over(Box::new(logged(&disk, 1 << 20).unwrap()), StoreLimits::default()).await.unwrap();
    assert_eq!(store.begin(&owner("chat")).scan(&Scan::all(Direction::Forward)).await.unwrap().rows.len(), 4);
    store.close().await;
}

/// Not even if the power fails during a checkpoint.
#[test]
fn no_start_after_a_crash_reads_the_whole_tree() {
    for mut random in Random::runs(6) {
        let disk = Disk::default();
        let (mut engine, mut map) = (logged_with(&disk, 1 << 20, SMALL).unwrap(), Map::new());
        disk.light(1 + random.below(100));
        while now(engine.apply(&some_writes(&mut random))).is_ok() {}
        drop(engine);
        let found = disk.after_crash(disk::Unsynced::Random, &mut random);
        let mut builder = redb::Builder::new();
        builder.set_repair_callback(|_| panic!("the whole file is read"));
        drop(builder.create_with_backend(found.clone()).unwrap());
        apply(&mut logged(&found, 1 << 20).unwrap(), &mut map, &row("it", "works"));
    }
}

#[test]
fn a_log_that_is_damaged_or_of_another_store_is_refused() {
    let disk = Disk::default();
    let mut engine = logged(&disk, 1 << 20).unwrap();
    for key in ["a", "b", "c", "d"] {
        now(engine.apply(&row(key, key))).unwrap();
    }
    drop(engine);
    let error = |disk: &Disk| logged(disk, 1 << 20).err().map(|error| error.to_string()).unwrap_or_default();
    // An older copy of the tree, from before this opening.
    let other = Disk::default();
    drop(logged(&other, 1 << 20).unwrap());
    let log = disk.log(0).content();
    other.log(0).change(|file| *file = log);
    assert!(error(&other).contains("belong to another state of the store"), "{}", error(&other));
    let mut engine = logged(&disk, 1 << 20).unwrap();
    assert!((now(now(engine.snapshot()).unwrap().get(b"d")).unwrap()).is_some());
    drop(engine);
    assert_eq!(error(&disk), "");
}

/// The bytes of a header, and of a record before its rows.
const HEADER: usize = 28;
const RECORD: usize = 24;

#[test]
fn a_flipped_bit_in_the_log_stops_the_start_unless_it_is_in_the_last_commit() {
    let disk = Disk::default();
    let mut engine = logged(&disk, 1 << 20).unwrap();
    // The first one goes to the tree.
    let keys = ["a", "b", "c", "d"];
    for key in keys {
        now(engine.apply(&row(key, key))).unwrap();
    }
    drop(engine);
    let log = disk.log(0).content();
    let last = log.iter().rposition(|byte| *byte != 0).unwrap();
    let open_with = |change: &dyn Fn(&mut Vec<u8>)| -> Result<Vec<&str>, String> {
        let found = disk.after_crash(disk::Unsynced::Forgotten, &mut Random::new(1));
        found.log(0).change(change);
        let mut engine = logged(&found, 1 << 20).map_err(|error| error.to_string())?;
        let snapshot = now(engine.snapshot()).unwrap();
        Ok(keys.into_iter().filter(|key| now(snapshot.get(key.as_bytes())).unwrap().is_some()).collect())
    };
    let flip = |at: usize| open_with(&|file| file[at] ^= 4);
    for in_the_first in [HEADER, HEADER + 9, HEADER + RECORD] {
        let error = flip(in_the_first).unwrap_err();
        assert!(
            error.contains("commit 2 can't be read at byte 28 of bennu.redb-log1, though later ones are"),
            "{error}"
        );
        assert!(error.contains("run `truncate -s 28 bennu.redb-log1` in the data directory"), "{error}");
    }
    assert_eq!(open_with(&|file| file.truncate(HEADER)), Ok(vec!["a"]));
    assert_eq!(flip(last), Ok(vec!["a", "b", "c"]), "it could be torn");
    assert_eq!(flip(9), Ok(keys.to_vec()), "the header says nothing that the first record doesn't say");
    let both = open_with(&|file| (file[9], file[HEADER]) = (!file[9], !file[HEADER]));
    assert!(both.is_err_and(|error| error.contains("commit 2 can't be read at byte 0 of bennu.redb-log1")));
}

fn files(place: &std::path::Path) -> Vec<String> {
    let names = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_closed_store_has_one_file() {
    let place = tempfile::tempdir().unwrap();
    let (data, copy) = (place.path().join("data"), place.path().join("copy"));
    for round in 0..2 {
        let store = Store::open(&data, StoreLimits::default()).await.unwrap();
        store.commit(put(&store, round)).await.unwrap();
        store.commit(put(&store, round + 10)).await.unwrap();
        assert_eq!(files(&data), ["bennu.redb", "bennu.redb-log1", "bennu.redb-log2"]);
        assert!(store.log_counts().bytes() > 0, "it has a record");
        assert_eq!(directory::open_to_others(&data).unwrap(), None);
        store.close().await;
        assert_eq!(files(&data), ["bennu.redb"]);
    }
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(data.join("bennu.redb"), copy.join("bennu.redb")).unwrap();
    let store = Store::open(&copy, StoreLimits::default()).await.unwrap();
    assert_eq!(store.begin(&owner("chat")).scan(&Scan::all(Direction::Forward)).await.unwrap().rows.len(), 4);
    store.close().await;
}
