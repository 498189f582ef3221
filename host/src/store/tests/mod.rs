//! The store's tests: engines and drafts against simple models, and the content after a crash.

mod backup;
mod check;
mod commits;
mod crash;
mod disk;
mod drafts;
mod engines;
mod entries;
mod kill;
mod ledger;
mod lines;
mod load;
mod log;
mod log_faults;
mod overlays;
mod quotas;
mod reads;
mod recovery;
mod release;
mod renames;
mod serial;
mod stored_rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use self::disk::Disk;
use super::committer::{Committer, Shared};
use super::draft::Draft;
use super::engine::{Direction, Engine, Row, ScanLimit};
use super::{LogLimits, Logged, Memory, OpeningError, Owner, Revision, Scan, Store, StoreLimits};

/// Pseudo-random numbers. Prints its seed if the test fails. `SEED=7 cargo test` runs that seed alone.
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// Returns generators for this many runs: the first seeds, and one new random seed.
    fn runs(count: u64) -> impl Iterator<Item = Self> {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let fresh = getrandom::u64().unwrap();
        let seeds: Vec<u64> = given.map_or_else(|| (1..count).chain([fresh]).collect(), |seed| vec![seed]);
        seeds.into_iter().map(Self::new)
    }

    fn new(seed: u64) -> Self {
        Self { seed, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// Returns a number below `end`. The algorithm is xorshift64*, by Vigna.
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Returns one of few keys, so that equal keys are frequent. Some keys are prefixes of others.
    fn key(&mut self) -> Bytes {
        let length = 1 + self.below(3);
        (0..length).map(|_| self.pick(b"\0ab\xff")).collect()
    }

    fn value(&mut self) -> Bytes {
        let length = self.below(12);
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    fn scan(&mut self) -> Scan {
        let until = self.key();
        Scan {
            from: if self.one_in(3) { Bytes::new() } else { self.key() },
            until: Some(until).filter(|_| !self.one_in(3)),
            direction: self.pick(&[Direction::Forward, Direction::Backward]),
            rows: if self.one_in(3) { usize::MAX } else { self.below(5) },
            bytes: if self.one_in(2) { usize::MAX } else { self.below(40) },
        }
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.seed);
        }
    }
}

/// Returns the output of a future that must be ready at once.
fn now<T>(doing: impl Future<Output = T>) -> T {
    doing.now_or_never().unwrap()
}

fn owner(name: &str) -> Owner {
    Owner::new(name, super::QUOTA_BYTES).unwrap()
}

fn memory() -> Store {
    Store::in_memory(StoreLimits::default()).unwrap()
}

/// Returns the rows that an engine must find if its content is this map, and whether these are all rows of the range.
fn found(map: &BTreeMap<Bytes, Bytes>, scan: &Scan, limit: ScanLimit) -> (Vec<Row>, bool) {
    let is_in = |key: &&Bytes| **key >= scan.from && scan.until.as_ref().is_none_or(|until| *key < until);
    let mut keys: Vec<&Bytes> = map.keys().filter(is_in).collect();
    if scan.direction == Direction::Backward {
        keys.reverse();
    }
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for key in keys {
        bytes += key.len() + map[key].len();
        if !rows.is_empty() && (rows.len() >= limit.rows || bytes > limit.bytes) {
            return (rows, false);
        }
        rows.push((key.clone(), map[key].clone()));
    }
    (rows, true)
}

/// Opens an engine on a simulated disk.
fn logged(disk: &Disk, cache_bytes: usize) -> Result<Logged, OpeningError> {
    logged_with(disk, cache_bytes, LogLimits::default())
}

fn logged_with(disk: &Disk, cache_bytes: usize, limits: LogLimits) -> Result<Logged, OpeningError> {
    let (tree, log) = (disk.clone(), disk.clone());
    Logged::over(move || tree.clone(), move |which| log.log(which), cache_bytes, limits)
}

fn committer(engine: impl Engine, limits: StoreLimits) -> (Committer, Arc<Shared>) {
    let committer = now(Committer::new(Box::new(engine), limits)).unwrap();
    let shared = Arc::clone(committer.shared());
    (committer, shared)
}

fn begin(shared: &Shared, owner: &Owner) -> Draft {
    Draft::new(owner.clone(), shared.seen.load_full(), 0)
}
