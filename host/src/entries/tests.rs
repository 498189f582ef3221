//! Entries of durable rooms next to a model of plain maps: with evictions, and commits that fail.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use bennu_semantics::Topic;
use bennu_semantics::entries::{KeyRange, Order, RangeRead};
use bennu_semantics::limits::EntryLimits;
use bennu_test_tiers::{Noise, rounds};

use super::*;
use crate::store::{CommitError, Owner, QUOTA_BYTES, Revision, Store, StoreLimits};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A durable room with a model of its entries.
struct Room {
    name: Topic,
    entries: Arc<TopicEntries>,
    committed: Map,
}

struct Model {
    node: Arc<EntriesNode>,
    store: Store,
    owner: Owner,
    rooms: Vec<Room>,
    noise: Noise,
}

fn call_of(topic: &Arc<TopicEntries>) -> CallEntries {
    let input = EntryInput { topic: Arc::clone(topic), version: 0, keeps_old: false, is_before: false };
    CallEntries::new(input, false)
}

fn key(noise: &mut Noise) -> Vec<u8> {
    let length = 1 + noise.below(3);
    (0..length).map(|_| [0, b'a', b'b', 0xff][noise.below(4)]).collect()
}

impl Model {
    fn new(seed: u64) -> Self {
        let cache = CacheLimits { cache_bytes: 800, dirty_bytes: 300 };
        let mut model = Self {
            node: EntriesNode::with_cache(EntryLimits::default(), cache),
            store: Store::in_memory(StoreLimits::default()).unwrap(),
            owner: Owner::new("a", QUOTA_BYTES).unwrap(),
            rooms: Vec::new(),
            noise: Noise::new(seed),
        };
        for name in ["room:1", "room:10", "room:2"] {
            let name = Topic::new(name);
            let entries = TopicEntries::durable(&model.node, &model.owner, &name, &model.store);
            model.rooms.push(Room { name, entries, committed: Map::new() });
        }
        model
    }

    /// Runs a call that reads and writes, and compares its reads with the model. Then it fails, or is committed.
    async fn call(&mut self, at: usize) {
        let Self { rooms, noise, .. } = self;
        let room = &rooms[at];
        let (mut call, mut seen) = (call_of(&room.entries), room.committed.clone());
        for _ in 0..1 + noise.below(8) {
            let (key, end) = (key(noise), (noise.below(2) == 0).then(|| key(noise)));
            match noise.below(6) {
                0 => assert_eq!(call.get(&key).await.unwrap(), seen.get(&key).cloned()),
                1 => {
                    call.delete(&key).await.unwrap();
                    seen.remove(&key);
                }
                2 => {
                    let limit = 1 + noise.below(4);
                    let deleted = call.delete_range((Some(&key), end.as_deref()), limit as u32).await.unwrap();
                    let found: Vec<_> =
                        in_range(&seen, &key, end.as_deref()).take(limit).map(|(key, _)| key.clone()).collect();
                    assert_eq!(deleted as usize, found.len());
                    found.iter().for_each(|key| drop(seen.remove(key)));
                }
                3 => {
                    let mut found = Vec::new();
                    let each = |key: &[u8], value: &[u8]| found.push((key.to_vec(), value.to_vec()));
                    let order = if noise.below(2) == 0 { Order::Forward } else { Order::Backward };
                    call.scan((Some(&key), end.as_deref()), order, 5, each).await.unwrap();
                    let expected =
                        in_range(&seen, &key, end.as_deref()).map(|(key, value)| (key.clone(), value.clone()));
                    let expected: Vec<_> = match order {
                        Order::Forward => expected.take(5).collect(),
                        Order::Backward => expected.rev().take(5).collect(),
                    };
                    assert_eq!(found, expected);
                }
                _ => {
                    let value = vec![b'v'; noise.below(120)];
                    call.put(&key, &value).await.unwrap();
                    seen.insert(key, value);
                }
            }
        }
        match noise.below(8) {
            0 => {}
            1..=3 => {
                call.into_pending().into_iter().for_each(|pending| drop(pending.apply(false, None)));
                self.rooms[at].committed = seen;
            }
            _ => self.commit(at, call.into_pending(), seen).await,
        }
    }

    /// Commits changes of a call, or only the entries that aren't stored yet. The store may fail.
    async fn commit(&mut self, at: usize, mut pending: Option<Box<PendingEntries>>, seen: Map) {
        let entries = Arc::clone(&self.rooms[at].entries);
        let commit = entries.begin_commit(pending.as_deref(), None).await.unwrap();
        let mut draft = self.store.begin(&self.owner);
        commit.write(&mut draft, pending.as_deref()).unwrap();
        // The engine fails with or without effect.
        let (is_stored, is_known) =
            [(true, true), (true, true), (true, true), (true, false), (false, false)][self.noise.below(5)];
        let revision = if is_stored { self.store.commit(draft).await.unwrap() } else { Revision::default() };
        if is_known {
            commit.is_stored(revision, pending.as_deref());
            pending.into_iter().for_each(|pending| drop(pending.apply(true, None)));
            self.rooms[at].committed = seen;
            return;
        }
        // Old entries that are too large aren't written again, except those that weren't stored. So other changes may be
        // there.
        if !commit.has_old && is_stored {
            let committed = &mut self.rooms[at].committed;
            let kept: Vec<_> = entries.state().table.dirty().map(|dirty| dirty.key.to_vec()).collect();
            let kept: Vec<_> = kept.into_iter().map(|key| (committed.get(&key).cloned(), key)).collect();
            *committed = seen;
            for (old, key) in kept {
                match old {
                    Some(value) => drop(committed.insert(key, value)),
                    None => drop(committed.remove(&key)),
                }
            }
        }
        commit.is_uncertain(pending.take());
    }

    /// Stores everything, and opens the room again.
    async fn reopen(&mut self, at: usize) {
        let committed = self.rooms[at].committed.clone();
        while self.rooms[at].entries.size().dirty_bytes > 0 {
            self.commit(at, None, committed.clone()).await;
        }
        let room = &mut self.rooms[at];
        room.entries = TopicEntries::durable(&self.node, &self.owner, &room.name, &self.store);
        let rows = self.store.entry_rows(&self.owner, room.name.as_str(), Revision::default()).unwrap();
        let read = RangeRead { range: KeyRange::all(), order: Order::Forward, entries: 1000, bytes: 1 << 20 };
        let (found, has_ended) = rows.range(&read).await.unwrap();
        let found = found.into_iter().map(|entry| entry.into_packed());
        let found: Map = found.map(|packed| (packed.key().to_vec(), packed.value().to_vec())).collect();
        assert_eq!((&found, has_ended), (&room.committed, true));
        let (sums, recount) = (rows.sums().await.unwrap().unwrap_or_default().sums, rows.count().await.unwrap());
        assert_eq!(sums, recount);
    }
}

fn in_range<'m>(
    map: &'m Map,
    start: &[u8],
    end: Option<&[u8]>,
) -> impl DoubleEndedIterator<Item = (&'m Vec<u8>, &'m Vec<u8>)> {
    let end = end.map(|end| end.max(start));
    map.range::<[u8], _>((Included(start), end.map_or(Unbounded, Excluded)))
}

#[tokio::test]
async fn eviction_under_pressure_loses_nothing() {
    let mut evicted = 0;
    for seed in 0..rounds("entries::evict") as u64 {
        let mut model = Model::new(seed);
        for _ in 0..60 {
            let at = model.noise.below(model.rooms.len());
            match model.noise.below(10) {
                0 => model.reopen(at).await,
                1 => {
                    model.node.evict().await;
                    assert!(model.node.usage().cached_bytes <= 800, "{:?}", model.node.usage());
                }
                _ => model.call(at).await,
            }
        }
        for at in 0..model.rooms.len() {
            model.reopen(at).await;
        }
        evicted += model.node.usage().evicted;
        model.rooms.clear();
        let usage = model.node.usage();
        assert_eq!((usage.cached_bytes, usage.dirty_bytes), (0, 0));
    }
    assert!(evicted > 0);
}

async fn filled(cache_bytes: u64) -> (Arc<EntriesNode>, Store, Arc<TopicEntries>) {
    let node = EntriesNode::with_cache(EntryLimits::default(), CacheLimits { cache_bytes, ..CacheLimits::default() });
    let store = Store::in_memory(StoreLimits::default()).unwrap();
    let owner = Owner::new("a", QUOTA_BYTES).unwrap();
    let entries = TopicEntries::durable(&node, &owner, &Topic::new("room:1"), &store);
    let mut call = call_of(&entries);
    for n in 0..100_u8 {
        call.put(&[n], &[0; 10_000]).await.unwrap();
    }
    let pending = call.into_pending().unwrap();
    let commit = entries.begin_commit(Some(&pending), None).await.unwrap();
    let mut draft = store.begin(&owner);
    commit.write(&mut draft, Some(&pending)).unwrap();
    commit.is_stored(store.commit(draft).await.unwrap(), Some(&pending));
    // The next room of the topic, which has read nothing.
    let entries = TopicEntries::durable(&node, &owner, &Topic::new("room:1"), &store);
    (node, store, entries)
}

async fn read(entries: &Arc<TopicEntries>, keys: impl Iterator<Item = u8>) {
    let mut call = call_of(entries);
    for key in keys {
        assert!(call.get(&[key]).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn the_least_recently_used_go_first() {
    // Room for about 50 of the 100 entries.
    let (node, _store, entries) = filled(500_000).await;
    read(&entries, 0..40).await;
    read(&entries, 40..49).await;
    read(&entries, 0..20).await;
    assert_eq!((node.usage().loaded, node.usage().evicted), (49, 0));
    read(&entries, 49..52).await;
    node.evict().await;
    let loaded = node.usage().loaded;
    assert!(node.usage().evicted >= 4 && node.usage().cached_bytes <= 500_000, "{:?}", node.usage());
    // Those that were read twice, and the last ones, are there.
    read(&entries, (0..20).chain(49..52)).await;
    assert_eq!(node.usage().loaded, loaded);
    read(&entries, 20..49).await;
    assert!(node.usage().loaded >= loaded + 4);
}

#[tokio::test]
async fn a_full_cache_lets_reads_pass_through() {
    let (node, _store, entries) = filled(100_000).await;
    read(&entries, 0..100).await;
    // An entry is kept while the cache has at most 1.25 times its limit.
    assert_eq!(node.usage().loaded, 100);
    assert!((100_000..=125_000 + 10_065).contains(&node.usage().cached_bytes), "{:?}", node.usage());
    let mut call = call_of(&entries);
    let mut found = 0;
    call.scan((None, None), Order::Forward, 1000, |_, _| found += 1).await.unwrap();
    assert_eq!(found, 100);
    assert!(node.usage().cached_bytes <= 125_000 + 10_065, "{:?}", node.usage());
}

#[tokio::test]
async fn a_conflict_or_a_quota_leaves_the_entries_unchanged() {
    let (_node, store, entries) = filled(1 << 20).await;
    let small = Owner::new("a", 1_000_000).unwrap();
    let mut call = call_of(&entries);
    call.put(b"new", b"value").await.unwrap();
    let pending = call.into_pending().unwrap();
    let commit = entries.begin_commit(Some(&pending), None).await.unwrap();
    let mut draft = store.begin(&small);
    commit.write(&mut draft, Some(&pending)).unwrap();
    let refused = store.commit(draft).await.unwrap_err();
    assert!(matches!(refused, CommitError::Quota { bytes: 1_000_108, .. }) && !refused.is_uncertain(), "{refused}");
    drop((commit, pending));
    let mut call = call_of(&entries);
    assert_eq!(call.get(b"new").await.unwrap(), None);
    assert_eq!(entries.size().dirty_bytes, 0);
}
