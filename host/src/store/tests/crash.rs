//! The power fails at any operation while the store is written, and the disk loses unsynced data.

use std::sync::Mutex;

use super::disk::{Disk, Unsynced};
use super::load::{self, Progress, TASKS};
use super::*;

async fn open(disk: &Disk) -> anyhow::Result<Store> {
    // A small cache, so that some pages are written before the commit. A small log, so that many checkpoints are made.
    let limits = LogLimits { table_bytes: 50_000, batch_bytes: 40_000, growth_bytes: 20_000 };
    Store::over(Box::new(logged_with(disk, 64 << 10, limits)?), StoreLimits::default()).await
}

/// Writes until the power fails. Returns the rounds that each task began, and those that were acknowledged.
async fn write(store: &Store, disk: &Disk, latest: [u64; TASKS]) -> [Progress; TASKS] {
    let progress = Arc::new(latest.map(|round| Mutex::new(Progress { begun: round, done: round })));
    let mut tasks = tokio::task::JoinSet::new();
    for (task, latest) in latest.into_iter().enumerate() {
        let (store, progress, disk) = (store.clone(), Arc::clone(&progress), disk.clone());
        tasks.spawn(async move {
            let tell = |round, is_done| {
                let mut progress = progress[task].lock().unwrap();
                *(if is_done { &mut progress.done } else { &mut progress.begun }) = round;
            };
            load::write(&store, task, latest + 1, tell, || !disk.is_off()).await;
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    std::array::from_fn(|task| *progress[task].lock().unwrap())
}

/// Reopens the store. The power may also fail while it is opened. So this tries until the power stays on.
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
    let (mut disk, mut progress) = (Disk::default(), [Progress::default(); TASKS]);
    // The database is created first: on a real disk it is created under another name, so a crash can't leave a partial one.
    open(&disk).await.unwrap().close().await;
    let (mut acknowledged, mut unanswered) = (0, 0);
    let rounds = bennu_test_tiers::rounds("store::crash");
    for _ in 0..rounds {
        let (found, store) = reopen(disk, unsynced, random).await;
        disk = found;
        let latest = load::check(&store, &progress).await;
        unanswered += latest.iter().zip(progress).map(|(latest, progress)| latest - progress.done).sum::<u64>();
        disk.light(1 + random.below(250));
        let before = latest.iter().sum::<u64>();
        progress = write(&store, &disk, latest).await;
        acknowledged += progress.iter().map(|progress| progress.done).sum::<u64>() - before;
        store.close().await;
    }
    let (_disk, store) = reopen(disk, unsynced, random).await;
    load::check(&store, &progress).await;
    store.close().await;
    println!("{unsynced:?}: {acknowledged} acknowledged, all found; {unanswered} others found complete; none in part");
    assert!(acknowledged > rounds as u64, "there was too little load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_a_disk_that_loses_unsynced_data() {
    for mut random in Random::runs(1) {
        crash_again_and_again(Unsynced::Forgotten, &mut random).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_a_disk_that_keeps_a_part_of_the_unsynced_data() {
    for mut random in Random::runs(1) {
        crash_again_and_again(Unsynced::Random, &mut random).await;
    }
}
