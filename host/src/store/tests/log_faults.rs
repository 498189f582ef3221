//! The power fails, or the disk fails, at any write or sync of the log or of a checkpoint. The engine must have all
//! acknowledged batches afterwards, in order and each as a whole.

use super::disk::Unsynced;
use super::engines::{Map, SMALL, carry_out, some_writes};
use super::*;
use crate::store::engine::{Span, Writes};

/// The number of batches of a run.
const BATCHES: usize = 40;

/// A run of an engine, with the map that its content must equal.
struct Run {
    engine: Logged,
    /// The content after all acknowledged batches.
    map: Map,
    /// The content if the batch that failed is stored.
    uncertain: Option<Map>,
}

/// The batches of a run. Some of them are larger than a record may be. Some keys are written by each batch.
fn batches(random: &mut Random) -> Vec<Writes> {
    let batch = |at: usize| {
        let mut writes = some_writes(random);
        writes.insert("number".into(), Some(at.to_string().into()));
        writes.insert(format!("own-{at}").into(), Some(vec![at as u8; random.below(200)].into()));
        if random.one_in(8) {
            writes.insert("large".into(), Some(vec![at as u8; SMALL.batch_bytes].into()));
        }
        writes
    };
    (0..BATCHES).map(batch).collect()
}

fn open(disk: &Disk) -> Result<Logged, OpeningError> {
    logged_with(disk, 1 << 20, SMALL)
}

fn content(engine: &mut Logged) -> Map {
    let span = Span { from: Bytes::new(), until: vec![255; 8].into() };
    let all = ScanLimit { rows: usize::MAX, bytes: usize::MAX };
    let snapshot = now(engine.snapshot()).unwrap();
    now(snapshot.scan(&span, Direction::Forward, all)).unwrap().rows.into_iter().collect()
}

impl Run {
    /// Applies the batches until one fails. If `waits` is set, each checkpoint ends before the next batch begins, so that a run
    /// can be repeated exactly. Returns the number of acknowledged batches.
    fn apply(&mut self, batches: &[Writes], waits: bool) -> usize {
        for (at, writes) in batches.iter().enumerate() {
            let mut after = self.map.clone();
            carry_out(&mut after, writes);
            if now(self.engine.apply(writes)).is_err() {
                self.uncertain = Some(after);
                return at;
            }
            self.map = after;
            if waits && self.engine.wait_for_checkpoint().is_err() {
                return at + 1;
            }
        }
        batches.len()
    }

    /// Checks the content after a failure. From now on, it must stay as it is.
    fn check(&mut self, what: &str) {
        let found = content(&mut self.engine);
        let is_stored = self.uncertain.take().is_some_and(|uncertain| uncertain == found);
        assert!(is_stored || found == self.map, "{what}: {found:?} instead of {:?}", self.map);
        self.map = found;
    }
}

/// Returns the number of writes and syncs of a whole run.
fn operations(batches: &[Writes]) -> usize {
    let disk = Disk::default();
    let mut run = Run { engine: open(&disk).unwrap(), map: Map::new(), uncertain: None };
    let before = disk.operations();
    assert_eq!(run.apply(batches, true), batches.len());
    now(run.engine.close()).unwrap();
    disk.operations() - before
}

/// Returns the operations at which something fails: as many as the tier has, at equal distances from a random first one.
fn chosen(operations: usize, random: &mut Random) -> impl Iterator<Item = usize> + use<> {
    let step = (operations / bennu_test_tiers::rounds("store::log_faults")).max(1);
    let first = 1 + random.below(step);
    (first..=operations).step_by(step)
}

#[test]
fn no_acknowledged_batch_is_lost_wherever_the_power_fails() {
    for mut random in Random::runs(2) {
        let batches = batches(&mut random);
        for fuse in chosen(operations(&batches), &mut random) {
            let mut disk = Disk::default();
            let mut run = Run { engine: open(&disk).unwrap(), map: Map::new(), uncertain: None };
            disk.light(fuse);
            let waits = !random.one_in(3);
            let mut done = run.apply(&batches, waits);
            drop(now(run.engine.close()));
            // The power may fail again while the store is opened, or a little later.
            for again in [random.one_in(2), random.one_in(2), false] {
                drop(run.engine);
                loop {
                    let unsynced = random.pick(&[Unsynced::Forgotten, Unsynced::Random]);
                    disk = disk.after_crash(unsynced, &mut random);
                    if again {
                        disk.light(1 + random.below(20));
                    }
                    match open(&disk) {
                        Ok(engine) if !disk.is_off() => break run.engine = engine,
                        Ok(engine) => drop(engine),
                        Err(error) => assert!(disk.is_off(), "power failure {fuse}: {error}"),
                    }
                }
                run.check(&format!("power failure {fuse}"));
                done += run.apply(&batches[done..], waits);
            }
            assert_eq!(done, batches.len());
            now(run.engine.close()).unwrap();
            drop(run.engine);
            run.engine = open(&disk).unwrap();
            run.check(&format!("power failure {fuse}, at the end"));
        }
    }
}

#[test]
fn no_acknowledged_batch_is_lost_wherever_the_disk_fails() {
    for mut random in Random::runs(2) {
        let batches = batches(&mut random);
        for number in chosen(operations(&batches), &mut random) {
            let disk = Disk::default();
            let mut run = Run { engine: open(&disk).unwrap(), map: Map::new(), uncertain: None };
            disk.fail(number);
            let waits = !random.one_in(3);
            let mut done = run.apply(&batches, waits);
            if done < batches.len() {
                assert!(disk.has_failed() && now(run.engine.apply(&batches[0])).is_err(), "nothing more is written");
                if random.one_in(2) {
                    // The first attempts to reopen it fail too, at an operation or because the disk is full.
                    disk.fail(1 + random.below(8));
                    let _ = now(run.engine.reopen());
                    disk.fill(true);
                    assert!(now(run.engine.reopen()).is_err());
                    disk.fill(false);
                }
                disk.forget(random.pick(&[Unsynced::Forgotten, Unsynced::Random]), &mut random);
                now(run.engine.reopen()).unwrap();
                run.check(&format!("failure {number}"));
                done += run.apply(&batches[done..], waits);
            }
            assert_eq!(done, batches.len());
            run.check(&format!("failure {number}, at the end"));
            // The last failures are those of the end.
            if now(run.engine.close()).is_err() {
                disk.forget(Unsynced::Random, &mut random);
            }
            drop(run.engine);
            run.engine = open(&disk).unwrap();
            run.check(&format!("failure {number}, at the next start"));
        }
    }
}

/// Only one of the files can't be written: the tree during a checkpoint, or a file of the log.
#[test]
fn a_disk_that_is_full_for_one_file_loses_nothing() {
    for mut random in Random::runs(12) {
        let disk = Disk::default();
        let mut run = Run { engine: open(&disk).unwrap(), map: Map::new(), uncertain: None };
        let batches = batches(&mut random);
        let before = 1 + random.below(20);
        let mut done = run.apply(&batches[..before], false);
        let full = random.pick(&[disk.clone(), disk.log(0), disk.log(1)]);
        full.fill_file(true);
        done += run.apply(&batches[done..], random.one_in(2));
        if done < batches.len() {
            assert!(now(run.engine.reopen()).is_err());
            full.fill_file(false);
            now(run.engine.reopen()).unwrap();
            run.check("a full file");
            done += run.apply(&batches[done..], false);
        }
        full.fill_file(false);
        assert_eq!(done, batches.len());
        run.check("a full file, at the end");
        now(run.engine.close()).unwrap();
        run.engine = open(&disk).unwrap();
        run.check("a full file, at the next start");
    }
}
