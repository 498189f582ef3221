//! Kills a process that writes to the store, many times, and checks the data.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use super::load::{self, Progress, TASKS};
use super::*;
use crate::store::directory;

/// The environment variable with the data directory for the process that is killed. That process runs this same test.
const VICTIM: &str = "BENNU_STORE_VICTIM";

const TEST: &str = "store::tests::kill::acknowledged_writes_survive_kills";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills() {
    if let Some(place) = std::env::var_os(VICTIM) {
        return be_killed(Path::new(&place)).await;
    }
    let rounds = bennu_test_tiers::rounds("store::kill");
    for mut random in Random::runs(1) {
        let place = tempfile::tempdir().unwrap();
        let (mut progress, mut acknowledged) = ([Progress::default(); TASKS], 0);
        for _ in 0..rounds {
            let latest = check(place.path(), &progress).await;
            progress = latest.map(|round| Progress { begun: round, done: round });
            acknowledged += kill_one(place.path(), 1 + random.below(40), &mut progress);
        }
        check(place.path(), &progress).await;
        println!("{acknowledged} commits acknowledged, all found; none stored in part");
        assert!(acknowledged >= rounds, "there was too little load");
    }
}

/// Opens a store with a small log, so that some kills are during a checkpoint.
async fn open(place: &Path) -> Store {
    let limits = LogLimits { table_bytes: 50_000, batch_bytes: 40_000, growth_bytes: 20_000 };
    let engine = directory::open(place, 1 << 20, limits).unwrap();
    Store::over(Box::new(engine), StoreLimits::default()).await.unwrap()
}

async fn check(place: &Path, progress: &[Progress; TASKS]) -> [u64; TASKS] {
    let store = open(place).await;
    let latest = load::check(&store, progress).await;
    store.close().await;
    latest
}

/// Starts a process that writes, and kills it after `after` acknowledgements. Returns how many there were in the end.
fn kill_one(place: &Path, after: usize, progress: &mut [Progress; TASKS]) -> usize {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture"])
        .env(VICTIM, place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    for line in BufReader::new(victim.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let ["round", task, round, what] = words[..] else { continue };
        let progress = &mut progress[task.parse::<usize>().unwrap()];
        let round = round.parse().unwrap();
        match what {
            "begun" => progress.begun = round,
            "done" => {
                progress.done = round;
                acknowledged += 1;
                if acknowledged == after {
                    // The loop continues, because the output from before the kill must still be read.
                    victim.kill().unwrap();
                }
            }
            // A line that the kill has truncated.
            _ => {}
        }
    }
    assert!(!victim.wait().unwrap().success());
    acknowledged
}

async fn be_killed(place: &Path) {
    let store = open(place).await;
    let mut draft = store.begin(&owner("load"));
    let out = Arc::new(Mutex::new(std::io::stdout()));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let room = draft.room(&format!("room:{task}")).await.unwrap();
        let round = room.map_or(0, |room| u64::from_be_bytes(room[..].try_into().unwrap()));
        let (store, out) = (store.clone(), Arc::clone(&out));
        tasks.spawn(async move {
            let tell = |round: u64, is_done: bool| {
                let mut out = out.lock().unwrap();
                writeln!(out, "round {task} {round} {}", if is_done { "done" } else { "begun" }).unwrap();
                out.flush().unwrap();
            };
            load::write(&store, task, round + 1, tell, || true).await;
        });
    }
    drop(draft);
    while tasks.join_next().await.is_some() {}
}
