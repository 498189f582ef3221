//! Random operations on a table, next to a model of plain maps.

use std::sync::Arc;

use super::*;
use crate::limits::ENTRIES_AT_ONCE_MAX;

const OPERATIONS: usize = 60;

impl Model {
    /// Fills the store, so that the table has several pages in some rounds.
    fn begin(&mut self) {
        for _ in 0..[0, 10, 400][self.noise.below(3)] {
            let (key, value) = (self.key(), self.value());
            if self.table.is_complete() {
                self.table.write(entry_of(&key, 0, &value).into_packed(), Some(0), true);
            }
            self.stored.insert(key.clone(), (0, value.clone()));
            self.committed.insert(key, (0, value));
        }
    }

    fn read_one(&mut self, overlay: &mut Overlay) {
        let key = self.key();
        let get = |overlay: &mut Overlay, table: &EntryTable| {
            Ok(match overlay.get(table, &key)? {
                Progress::Done(value) => Progress::Done(value.map(<[u8]>::to_vec)),
                Progress::Read(read) => Progress::Read(read),
                Progress::Upgrade(keys) => Progress::Upgrade(keys),
            })
        };
        let found = self.finish(overlay, get).expect("an allowed key").expect("no upgrade");
        assert_eq!(found.as_ref(), self.committed.get(&key).map(|(_, value)| value));
    }

    fn read_range(&mut self, overlay: &mut Overlay) {
        let (range, order) = (self.range(), [Order::Forward, Order::Backward][self.noise.below(2)]);
        let limit = [1, 3, 50, 5000][self.noise.below(4)];
        let mut scan = EntryScan::new(range.0.as_deref(), range.1.as_deref(), order, limit).expect("short bounds");
        let mut found = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| found.push((key.to_vec(), value.to_vec()));
        let done = self.finish(overlay, |overlay, table| Ok(overlay.scan(table, &mut scan, &mut each)));
        assert_eq!(done, Ok(Ok(())));
        let keys = keys_of(&self.committed, &range, order).into_iter();
        let expected = keys.take((limit as usize).min(ENTRIES_AT_ONCE_MAX)).map(|key| {
            let value = self.committed[&key].1.clone();
            (key, value)
        });
        assert_eq!(found, expected.collect::<Vec<_>>(), "{range:?} {order:?}");
    }

    fn change(&mut self) {
        let (key, version) = (self.key(), [0, 1, 2][self.noise.below(3)]);
        let is_stored = self.table.is_complete() || self.noise.below(2) == 0;
        match self.noise.below(20) {
            0..8 => {
                let value = self.value();
                let packed = Packed::new(&key, &value).expect("an allowed key");
                self.table.write(packed, Some(version), is_stored);
                self.committed.insert(key.clone(), (version, value.clone()));
                if is_stored {
                    self.stored.insert(key, (version, value));
                }
            }
            8..11 => {
                self.table.write(Packed::new(&key, &[]).expect("an allowed key"), None, is_stored);
                self.committed.remove(&key);
                if is_stored {
                    self.stored.remove(&key);
                }
            }
            11 => {
                let dirty = self.table.dirty().map(|dirty| (dirty.key.to_vec(), dirty.entry));
                for (key, entry) in dirty {
                    match entry {
                        Some((version, value)) => drop(self.stored.insert(key, (version, value.to_vec()))),
                        None => drop(self.stored.remove(&key)),
                    }
                }
                self.table.mark_stored();
                assert!(self.is_complete_or_stored());
            }
            12..15 => self.evict(),
            _ => self.table.set_now(self.table.now + 1),
        }
    }

    fn is_complete_or_stored(&self) -> bool {
        self.table.is_complete() || self.stored == self.committed && self.table.bytes().dirty_bytes == 0
    }
}

#[test]
fn random_operations_agree_with_a_plain_map() {
    let (mut reads, mut largest) = (0, 0);
    for seed in 0..bennu_test_tiers::rounds("entries::table") as u64 {
        let table = if seed % 3 == 0 { EntryTable::complete() } else { EntryTable::cache() };
        let mut model = Model::new(table, seed);
        let mut overlay = Overlay::new(Arc::default(), None);
        model.begin();
        for _ in 0..OPERATIONS {
            match model.noise.below(4) {
                0 => model.read_one(&mut overlay),
                1 => model.read_range(&mut overlay),
                _ => model.change(),
            }
            // A large table isn't checked each time, because a check is linear.
            if model.table.bytes().slots < 30 || model.noise.below(10) == 0 {
                model.check();
            }
        }
        model.check();
        largest = largest.max(model.table.pages.len());
        reads += model.reads;
    }
    assert!(reads > 1000 && largest > 5, "too few reads ({reads}) or pages ({largest})");
}
