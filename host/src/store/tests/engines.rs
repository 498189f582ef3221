//! Checks every engine against a map.

use super::*;
use crate::store::engine::{Snapshot, Span, Writes};

pub(super) type Map = BTreeMap<Bytes, Bytes>;

/// A log whose tables are full after a few batches, and which has no space for some batches.
pub(super) const SMALL: LogLimits = LogLimits { table_bytes: 2000, batch_bytes: 700, growth_bytes: 1000 };

fn engines() -> [(&'static str, Box<dyn Engine>); 3] {
    let over = |limits| Box::new(logged_with(&Disk::default(), 1 << 20, limits).unwrap());
    [("memory", Box::<Memory>::default()), ("logged", over(LogLimits::default())), ("small log", over(SMALL))]
}

pub(super) fn some_writes(random: &mut Random) -> Writes {
    let count = random.below(6);
    (0..count).map(|_| (random.key(), Some(random.value()).filter(|_| !random.one_in(3)))).collect()
}

pub(super) fn carry_out(map: &mut Map, writes: &Writes) {
    for (key, value) in writes {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

/// Checks that gets and scans of a snapshot return the content of the map.
pub(super) fn compare(name: &str, snapshot: &dyn Snapshot, map: &Map, random: &mut Random) {
    for _ in 0..4 {
        let key = random.key();
        assert_eq!(now(snapshot.get(&key)).unwrap().as_ref(), map.get(&key), "{name} {key:?}");
        let scan = Scan { from: random.key(), until: Some(random.key()), ..random.scan() };
        let span = Span { from: scan.from.clone(), until: scan.until.clone().unwrap() };
        let limit = ScanLimit { rows: scan.rows.max(1), bytes: scan.bytes };
        let read = now(snapshot.scan(&span, scan.direction, limit)).unwrap();
        assert_eq!((read.rows, read.ended), found(map, &scan, limit), "{name} {scan:?}");
    }
}

#[test]
fn engines_show_applied_writes_and_snapshots_do_not_change() {
    for mut random in Random::runs(15) {
        for (name, mut engine) in engines() {
            let mut map = Map::new();
            let mut snapshots: Vec<(Arc<dyn Snapshot>, Map)> = Vec::new();
            for _ in 0..60 {
                let writes = some_writes(&mut random);
                now(engine.apply(&writes)).unwrap();
                carry_out(&mut map, &writes);
                if random.one_in(2) {
                    snapshots.push((now(engine.snapshot()).unwrap(), map.clone()));
                }
                if snapshots.len() > 4 {
                    snapshots.swap_remove(random.below(5));
                }
                for (snapshot, map) in &snapshots {
                    compare(name, &**snapshot, map, &mut random);
                }
            }
        }
    }
}

#[test]
fn a_scan_returns_at_least_one_row_however_large() {
    for (name, mut engine) in engines() {
        let writes = Writes::from([("a".into(), Some(vec![0; 2 << 20].into())), ("b".into(), Some(Bytes::new()))]);
        now(engine.apply(&writes)).unwrap();
        let snapshot = now(engine.snapshot()).unwrap();
        let span = Span { from: "a".into(), until: "z".into() };
        let read = now(snapshot.scan(&span, Direction::Forward, ScanLimit { rows: 10, bytes: 0 })).unwrap();
        assert_eq!((read.rows.len(), read.rows[0].1.len(), read.ended), (1, 2 << 20, false), "{name}");
        let read = now(snapshot.scan(&span, Direction::Backward, ScanLimit { rows: 10, bytes: 3 << 20 })).unwrap();
        assert_eq!((read.rows.len(), read.ended), (2, true), "{name}");
    }
}

#[test]
fn a_snapshot_that_outlives_its_engine_is_right_or_fails() {
    for (name, mut engine) in engines() {
        now(engine.apply(&Writes::from([("a".into(), Some("1".into()))]))).unwrap();
        let snapshot = now(engine.snapshot()).unwrap();
        drop(engine);
        if let Ok(value) = now(snapshot.get(b"a")) {
            assert_eq!(value, Some("1".into()), "{name}");
        }
    }
}
