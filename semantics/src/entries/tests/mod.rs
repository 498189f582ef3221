//! Tests of entries, next to a model of plain maps.

mod calls;
mod journal;
mod limits;
mod operations;
mod overlay;
mod published;
mod table;
mod upgrades;

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use bennu_test_tiers::Noise;

use super::slot::{Slot, State};
use super::*;
use crate::Fault;

/// Entries by their keys: the version and the value.
type Map = BTreeMap<Vec<u8>, (u32, Vec<u8>)>;

/// A host keeps a table in a mutex, and calls it from several threads.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<(EntryTable, Overlay, EntryChanges)>();
};

/// The keys of entries that have to be upgraded.
type Stale = Vec<Box<[u8]>>;

/// A table with a model of its store, and of the entries that the topic has.
struct Model {
    table: EntryTable,
    stored: Map,
    committed: Map,
    noise: Noise,
    /// The reads of the store.
    reads: usize,
}

impl Model {
    fn new(table: EntryTable, seed: u64) -> Self {
        Self { table, stored: Map::new(), committed: Map::new(), noise: Noise::new(seed), reads: 0 }
    }

    fn is_durable(&self) -> bool {
        !self.table.is_complete()
    }

    /// A random key of few letters, so that keys meet again. Those with a prefix `p` or `q`, which tests publish, are
    /// UTF-8.
    fn key(&mut self) -> Vec<u8> {
        let length = 1 + self.noise.below(4);
        let key: Vec<u8> = (0..length).map(|_| [0, b'a', b'p', b'q', 0xff][self.noise.below(5)]).collect();
        if [b'p', b'q'].contains(&key[0]) { key.iter().map(|letter| letter & 0x7f).collect() } else { key }
    }

    fn range(&mut self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let mut bound = || (self.noise.below(4) > 0).then(|| self.key());
        (bound(), bound())
    }

    /// A random value, which is JSON.
    fn value(&mut self) -> Vec<u8> {
        format!("[{},{:?}]", self.noise.below(100), "x".repeat(self.noise.below(30))).into_bytes()
    }

    /// Reads the store, and fills the table with the result, or with a part of it.
    fn fill(&mut self, read: StoreRead) {
        self.reads += 1;
        assert!(self.is_durable(), "{read:?}");
        match read {
            StoreRead::Keys(keys) => {
                assert!(!keys.is_empty());
                let read = 1 + self.noise.below(keys.len());
                for key in &keys[..read] {
                    let entry = self.stored.get(&**key);
                    self.table.fill_key(key, entry.map(|(version, value)| entry_of(key, *version, value)));
                }
            }
            StoreRead::Range(read) => {
                let most = 1 + self.noise.below(read.entries);
                let (rows, has_ended) = rows(&self.stored, &read, most);
                self.table.fill(&read, rows, has_ended);
            }
            StoreRead::Sums => panic!("the overlay gets the sums, not the table"),
        }
    }

    /// Repeats an operation until it is done. Between the operation and the read of the store, slots may be evicted. The
    /// error has the keys of entries that need an upgrade.
    fn finish<T>(
        &mut self,
        overlay: &mut Overlay,
        mut operation: impl FnMut(&mut Overlay, &EntryTable) -> Result<Progress<T>, Fault>,
    ) -> Result<Result<T, Stale>, Fault> {
        for _ in 0..5000 {
            match operation(overlay, &self.table)? {
                Progress::Done(result) => return Ok(Ok(result)),
                Progress::Read(StoreRead::Sums) => overlay.set_sums(sums_of(&self.committed, &overlay.rules)),
                Progress::Read(read) => {
                    if self.noise.below(3) == 0 {
                        self.evict();
                    }
                    self.fill(read);
                }
                Progress::Upgrade(keys) => return Ok(Err(keys)),
            }
        }
        panic!("the operation gets no further");
    }

    /// Evicts some slots.
    fn evict(&mut self) {
        let age = Stamp::try_from(self.noise.below(usize::try_from(self.table.now).unwrap_or_default() + 2));
        let from = self.key();
        match self.noise.below(3) {
            0 => drop(self.table.evict(age.unwrap_or_default(), &from, 1 + self.noise.below(200))),
            1 => drop(self.table.evict(age.unwrap_or_default(), &[], usize::MAX)),
            _ => {
                let (start, end) = self.range();
                let range = KeyRange::new(start.as_deref(), end.as_deref()).expect("short bounds");
                self.table.evict_range(&range);
            }
        }
    }

    /// The slots of the table, with the bounds of their pages.
    fn slots(&self) -> Vec<&Slot> {
        self.table.pages.iter().flat_map(|(_, page)| page.slots()).collect()
    }

    /// Checks everything that holds for a table.
    fn check(&self) {
        let slots = self.slots();
        self.check_pages();
        assert!(slots.is_sorted_by(|left, right| left.key() < right.key()));
        let mut held = TableBytes::default();
        slots.iter().for_each(|slot| held.add(slot));
        assert_eq!(self.table.bytes(), held);
        let dirty: Vec<_> = slots.iter().filter(|slot| slot.is_dirty()).map(|slot| slot.key()).collect();
        assert_eq!(self.table.dirty.iter().map(|key| &**key).collect::<Vec<_>>(), dirty);
        let slot_of = |key: &[u8]| slots.binary_search_by(|slot| slot.key().cmp(key)).ok().map(|at| slots[at]);
        for slot in &slots {
            let entry = (slot.state() == State::Present).then(|| (slot.version(), slot.value().to_vec()));
            assert!(slot.state() != State::Bound || !slot.is_dirty() && !slot.gap_is_complete(), "{slot:?}");
            if slot.state() != State::Bound {
                assert_eq!(self.committed.get(slot.key()), entry.as_ref(), "{slot:?}");
            }
            if slot.state() != State::Bound && !slot.is_dirty() && self.is_durable() {
                assert_eq!(self.stored.get(slot.key()), entry.as_ref(), "{slot:?}");
            }
        }
        if self.table.is_complete() {
            assert_eq!(slots.len(), self.committed.len());
            return;
        }
        // The key before a gap, and whether the gap is complete.
        let mut gap: (&[u8], bool) = (&[], self.table.before_first);
        for next in slots.iter().map(Some).chain([None]) {
            if gap.1 {
                let end = next.map_or(Unbounded, |next| Excluded(next.key()));
                assert_eq!(self.stored.range::<[u8], _>((Excluded(gap.0), end)).next(), None);
            }
            if let Some(next) = next {
                gap = (next.key(), next.gap_is_complete());
            }
        }
        for (key, entry) in &self.committed {
            assert!(self.stored.get(key) == Some(entry) || slot_of(key).is_some_and(Slot::is_dirty), "{key:?}");
        }
    }

    fn check_pages(&self) {
        let pages: Vec<_> = self.table.pages.iter().collect();
        assert!(pages.first().is_none_or(|(bound, _)| bound.as_bytes().is_empty()));
        for (at, (bound, page)) in pages.iter().enumerate() {
            assert!((1..=page::SLOTS_MAX).contains(&page.len()));
            let next = pages.get(at + 1).map(|(bound, _)| bound.as_bytes());
            let is_inside = |slot: &Slot| bound.as_bytes() <= slot.key() && next.is_none_or(|next| slot.key() < next);
            assert!(page.slots().iter().all(is_inside) && page.has_heads_of_keys(), "{bound:?} {page:?}");
        }
    }
}

fn sums_of(map: &Map, rules: &EntryRules) -> EntrySums {
    let mut sums = EntrySums::default();
    map.iter().for_each(|(key, (_, value))| sums.add(key, value.len(), rules.is_published(key)));
    sums
}

fn entry_of(key: &[u8], version: u32, value: &[u8]) -> StoredEntry {
    StoredEntry::new(key, version, value).expect("an allowed key")
}

/// The rows of a read of the store, and whether it has reached the end of the range.
fn rows(stored: &Map, read: &RangeRead, most: usize) -> (Vec<StoredEntry>, bool) {
    assert!(!read.range.is_empty() && read.entries > 0, "{read:?}");
    let end = read.range.end().map_or(Unbounded, Excluded);
    let rows = stored.range::<[u8], _>((Included(read.range.start()), end));
    let row = |(key, (version, value)): (&Vec<u8>, &(u32, Vec<u8>))| entry_of(key, *version, value);
    let rows: Vec<_> = match read.order {
        Order::Forward => rows.map(row).take(most + 1).collect(),
        Order::Backward => rows.rev().map(row).take(most + 1).collect(),
    };
    let has_ended = rows.len() <= most;
    (rows.into_iter().take(most).collect(), has_ended)
}

/// The keys of a range, in an order.
fn keys_of(map: &Map, (start, end): &(Option<Vec<u8>>, Option<Vec<u8>>), order: Order) -> Vec<Vec<u8>> {
    let start = start.clone().unwrap_or_default();
    let is_inside = |key: &&Vec<u8>| **key >= start && end.as_ref().is_none_or(|end| *key < end);
    let mut keys: Vec<_> = map.keys().filter(is_inside).cloned().collect();
    if order == Order::Backward {
        keys.reverse();
    }
    keys
}
