//! Compares many concurrent calls with a model in which they run one after another.

use super::*;
use crate::store::{CommitError, Page};

/// An operation of a call, with its result.
#[derive(Debug)]
enum Operation {
    Get(Bytes, Option<Bytes>),
    Scan(Scan, Page),
    Room(&'static str, Option<Bytes>),
    Write(Bytes, Option<Bytes>),
    SetRoom(&'static str, Option<Bytes>),
}

struct Running {
    draft: Draft,
    steps: Vec<Operation>,
}

/// The keys and rooms of each plugin.
#[derive(Clone, Default)]
struct Model {
    keys: BTreeMap<String, BTreeMap<Bytes, Bytes>>,
    rooms: BTreeMap<(String, &'static str), Bytes>,
}

impl Running {
    fn step(&mut self, random: &mut Random) {
        let step = match random.below(10) {
            0..3 => {
                let key = random.key();
                let value = now(self.draft.get(&key)).unwrap();
                Operation::Get(key, value)
            }
            3..5 => {
                let scan = random.scan();
                let page = now(self.draft.scan(&scan)).unwrap();
                Operation::Scan(scan, page)
            }
            5 => {
                let topic = random.pick(&["a", "b"]);
                Operation::Room(topic, now(self.draft.room(topic)).unwrap())
            }
            6 => {
                let (topic, room) = (random.pick(&["a", "b"]), Some(random.value()).filter(|_| !random.one_in(4)));
                self.draft.set_room(topic, room.clone()).unwrap();
                Operation::SetRoom(topic, room)
            }
            _ => {
                let (key, value) = (random.key(), Some(random.value()).filter(|_| !random.one_in(4)));
                match value.clone() {
                    Some(value) => self.draft.put(&key, value).unwrap(),
                    None => self.draft.delete(&key).unwrap(),
                }
                Operation::Write(key, value)
            }
        };
        self.steps.push(step);
    }
}

impl Model {
    /// Repeats a call's operations on the model, and compares the results.
    fn replay(&mut self, plugin: &str, steps: &[Operation]) {
        let keys = self.keys.entry(plugin.to_owned()).or_default();
        for step in steps {
            match step {
                Operation::Get(key, value) => assert_eq!(keys.get(key), value.as_ref(), "{key:?} of {steps:?}"),
                Operation::Scan(scan, page) => {
                    let limit = ScanLimit { rows: scan.rows.max(1), bytes: scan.bytes };
                    assert_eq!(found(keys, scan, limit).0, page.rows, "{scan:?} of {steps:?}");
                }
                Operation::Room(topic, room) => {
                    assert_eq!(self.rooms.get(&(plugin.to_owned(), topic)), room.as_ref(), "{topic} of {steps:?}");
                }
                Operation::Write(key, value) => drop(match value {
                    Some(value) => keys.insert(key.clone(), value.clone()),
                    None => keys.remove(key),
                }),
                Operation::SetRoom(topic, room) => drop(match room {
                    Some(room) => self.rooms.insert((plugin.to_owned(), topic), room.clone()),
                    None => self.rooms.remove(&(plugin.to_owned(), topic)),
                }),
            }
        }
    }

    fn usage(&self, plugin: &str) -> u64 {
        let rooms = self.rooms.iter().filter(|((owner, _), _)| owner == plugin);
        let rooms = rooms.map(|((_, topic), room)| topic.len() + room.len());
        let keys = self.keys.get(plugin).into_iter().flatten().map(|(key, value)| key.len() + value.len());
        (rooms.sum::<usize>() + keys.sum::<usize>()) as u64
    }
}

fn limits(random: &mut Random) -> StoreLimits {
    StoreLimits {
        reads_per_call: random.pick(&[2, 3, 1000]),
        recent_bytes: random.pick(&[0, 1000, 1 << 20]),
        ..StoreLimits::default()
    }
}

#[test]
fn commits_have_the_results_of_calls_that_run_one_after_another() {
    let (mut committed, mut conflicts) = (0, 0);
    for mut random in Random::runs(150) {
        let (mut committer, shared) = committer(Memory::default(), limits(&mut random));
        let owners = [owner("a"), owner("b")];
        let mut model = Model::default();
        let mut running: Vec<Running> = Vec::new();
        for _ in 0..400 {
            if running.len() < 6 && random.one_in(6) {
                running.push(Running { draft: begin(&shared, &random.pick(&owners)), steps: Vec::new() });
            }
            if running.is_empty() {
                continue;
            }
            if !random.one_in(8) {
                let at = random.below(running.len());
                running[at].step(&mut random);
                continue;
            }
            // Commit some of them, in any order, as one batch.
            let mut batch = Vec::new();
            for _ in 0..=random.below(running.len()) {
                batch.push(running.swap_remove(random.below(running.len())));
            }
            let (drafts, steps): (Vec<_>, Vec<_>) = batch.into_iter().map(|one| (one.draft, one.steps)).unzip();
            let revision = shared.seen.load().revision;
            for (at, outcome) in now(committer.settle(&drafts)).into_iter().enumerate() {
                match outcome {
                    Ok(at_revision) => {
                        assert!(at_revision >= revision);
                        model.replay(drafts[at].owner().name(), &steps[at]);
                        committed += 1;
                    }
                    Err(CommitError::Conflict) => conflicts += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            for owner in &owners {
                let usage = crate::store::metadata::usage(owner.name());
                let usage = now(crate::store::metadata::read(&*shared.seen.load().snapshot, &usage)).unwrap();
                assert_eq!(usage.unwrap_or(0), model.usage(owner.name()));
                let mut draft = begin(&shared, owner);
                let page = now(draft.scan(&Scan::all(Direction::Forward))).unwrap();
                let rows = model.keys.get(owner.name()).into_iter().flatten();
                let rows: Vec<Row> = rows.map(|(key, value)| (key.clone(), value.clone())).collect();
                assert_eq!(page.rows, rows);
            }
        }
    }
    // Otherwise the test would show little.
    assert!(committed > 1000 && conflicts > 1000, "{committed} committed, {conflicts} conflicts");
}

/// The check of a draft that only reads must have the same result as its commit, if it also wrote a key that no call reads.
#[test]
fn a_reader_is_current_exactly_if_its_commit_would_succeed() {
    for mut random in Random::runs(60) {
        let limits = StoreLimits { recent_bytes: 1 << 20, ..limits(&mut random) };
        let (mut committer, shared) = committer(Memory::default(), limits);
        let chat = owner("chat");
        let mut readers: Vec<Running> = Vec::new();
        for _ in 0..100 {
            let mut one = Running { draft: begin(&shared, &chat), steps: Vec::new() };
            (0..3).for_each(|_| one.step(&mut random));
            if one.draft.has_writes() {
                drop(now(committer.settle(&[one.draft])));
            } else {
                readers.push(one);
            }
            if readers.len() > 5 {
                let mut reader = readers.swap_remove(random.below(6));
                let is_current = shared.is_current(&reader.draft);
                reader.draft.put(b"nobody reads this", Bytes::new()).unwrap();
                reader.draft.delete(b"nobody reads this").unwrap();
                let outcome = now(committer.settle(&[reader.draft])).remove(0);
                assert_eq!(outcome.is_ok(), is_current);
            }
        }
    }
}
