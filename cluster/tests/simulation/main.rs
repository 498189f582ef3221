//! Many nodes in one thread, with a time of their own. A seed decides what goes wrong.
//!
//! What is tested is what `Cluster` runs: the cores of the link, the lease, the membership and a start, and the table in memory. The tasks
//! around them are replaced by a queue of events. `BENNU_SEEDS=17` runs that seed alone, `BENNU_SEEDS=0..100000` more of them.

mod arrival;
mod clock;
mod event;
mod faults;
mod network;
mod plan;
mod process;
mod random;
mod witness;
mod world;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bennu_test_tiers::rounds;
use witness::Tally;
use world::World;

/// The seeds to run.
fn seeds() -> Range<u64> {
    let Ok(seeds) = std::env::var("BENNU_SEEDS") else { return 0..rounds("cluster::simulation") as u64 };
    let (first, last) = seeds.split_once("..").unwrap_or((&seeds, ""));
    let number = |text: &str| text.parse().expect("BENNU_SEEDS is a number or a range such as 0..1000");
    let first: u64 = number(first);
    first..if last.is_empty() { first + 1 } else { number(last) }
}

/// Runs seeds on all processors. Returns what happened, and what was found.
fn run(seeds: Range<u64>) -> (Tally, Vec<String>) {
    let next = AtomicU64::new(seeds.start);
    let result = Mutex::new((Tally::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let witness = World::new(seed).run();
                    let mut result = result.lock().expect("no run panics");
                    result.0.add(&witness.tally);
                    result.1.extend(witness.findings.iter().map(|finding| format!("seed {seed}: {finding}")));
                }
            });
        }
    });
    result.into_inner().expect("no run panics")
}

#[test]
fn whatever_goes_wrong_nothing_is_lost_unsaid_and_nobody_alive_is_declared_dead() {
    let seeds = seeds();
    let (tally, findings) = run(seeds.clone());
    println!("{} runs: {tally:#?}", seeds.end - seeds.start);
    assert!(
        findings.is_empty(),
        "{} findings, the first ones:\n{}",
        findings.len(),
        findings[..findings.len().min(20)].join("\n")
    );
    // A simulation in which nothing happens finds nothing.
    assert!(seeds.end - seeds.start < 100 || tally.missing() == 0, "something never happened: {tally:#?}");
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    let once = || World::new(7).run().tally;
    assert_eq!(once(), once());
}
