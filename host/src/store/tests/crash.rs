//! The power goes under writing load, at any operation, and the disk forgets what wasn't synced.

use std::sync::Mutex;

use super::disk::{Disk, Unsynced};
use super::load::{self, TASKS, Told};
use super::*;

async fn open(disk: &Disk) -> anyhow::Result<Store> {
    // A small cache, so that pages are written before the commit too.
    Store::over(Box::new(embedded(disk, 64 << 10)?), StoreLimits::default()).await
}

/// Writes until the power goes. Says what each task was told.
async fn write(store: &Store, disk: &Disk, latest: [u64; TASKS]) -> [Told; TASKS] {
    let told = Arc::new(latest.map(|round| Mutex::new(Told { begun: round, done: round })));
    let mut tasks = tokio::task::JoinSet::new();
    for (task, latest) in latest.into_iter().enumerate() {
        let (store, told, disk) = (store.clone(), Arc::clone(&told), disk.clone());
        tasks.spawn(async move {
            let tell = |round, is_done| {
                let mut told = told[task].lock().unwrap();
                *(if is_done { &mut told.done } else { &mut told.begun }) = round;
            };
            load::write(&store, task, latest + 1, tell, || !disk.is_off()).await;
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    std::array::from_fn(|task| *told[task].lock().unwrap())
}

/// As often as it takes until the power stays: it may go while the store is opened, too.
async fn reopen(mut disk: Disk, unsynced: Unsynced, random: &mut Random) -> (Disk, Store) {
    loop {
        disk = disk.after_crash(unsynced, random);
        if random.one_in(3) {
            disk.light(1 + random.below(12));
        }
        match open(&disk).await {
            Ok(store) if !disk.is_off() => return (disk, store),
            Ok(store) => store.close().await,
            Err(error) => assert!(disk.is_off(), "{error:#}"),
        }
    }
}

async fn crash_again_and_again(unsynced: Unsynced, random: &mut Random) {
    let (mut disk, mut told) = (Disk::default(), [Told::default(); TASKS]);
    // A file is made under another name, so that no crash leaves one that was only begun.
    open(&disk).await.unwrap().close().await;
    let (mut acknowledged, mut unanswered) = (0, 0);
    let rounds = bennu_test_tiers::rounds("store::crash");
    for _ in 0..rounds {
        let (found, store) = reopen(disk, unsynced, random).await;
        disk = found;
        let latest = load::check(&store, &told).await;
        unanswered += latest.iter().zip(told).map(|(latest, told)| latest - told.done).sum::<u64>();
        disk.light(1 + random.below(250));
        let before = latest.iter().sum::<u64>();
        told = write(&store, &disk, latest).await;
        acknowledged += told.iter().map(|told| told.done).sum::<u64>() - before;
        store.close().await;
    }
    let (_disk, store) = reopen(disk, unsynced, random).await;
    load::check(&store, &told).await;
    store.close().await;
    println!("{unsynced:?}: {acknowledged} acknowledged, all found; {unanswered} more found whole; none by half");
    assert!(acknowledged > rounds as u64, "the load was none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_disk_that_forgets_what_was_not_synced() {
    for mut random in Random::runs(1) {
        crash_again_and_again(Unsynced::Forgotten, &mut random).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_disk_that_keeps_any_part_of_what_was_not_synced() {
    for mut random in Random::runs(1) {
        crash_again_and_again(Unsynced::Random, &mut random).await;
    }
}
