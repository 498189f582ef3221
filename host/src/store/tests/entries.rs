//! Entries of durable rooms: their rows, sums and format.

use bennu_semantics::entries::{DirtyEntry, EntrySums, KeyRange, Order, RangeRead, StoredEntry};

use super::*;
use crate::store::space::{Kind, entry_name};
use crate::store::{Existing, StoredSums};

const TOPICS: [&str; 3] = ["room:1", "room:10", "ä\0"];

/// The entries of all topics, by plugin, topic and key.
type Model = BTreeMap<(String, String, Bytes), (u32, Bytes)>;

fn entry<'a>(key: &'a [u8], version: u32, value: &'a [u8]) -> DirtyEntry<'a> {
    DirtyEntry { key, entry: Some((version, value)) }
}

fn sums(model: &Model, plugin: &str, topic: &str) -> EntrySums {
    let mut sums = EntrySums::default();
    for ((_, _, key), (_, value)) in model.iter().filter(|((of, at, _), _)| of == plugin && at == topic) {
        sums.add(key, value.len(), false);
    }
    sums
}

/// Stores random changes of entries with the sums of their topics.
fn change(store: &Store, random: &mut Random, model: &mut Model) {
    for plugin in ["a", "ab"] {
        let mut draft = store.begin(&owner(plugin));
        for topic in TOPICS {
            for _ in 0..random.below(8) {
                let (key, value, version) = (random.key(), random.value(), random.below(3) as u32);
                let place = (plugin.to_owned(), topic.to_owned(), key.clone());
                if random.one_in(4) {
                    model.remove(&place);
                    draft.set_entry(topic, DirtyEntry { key: &key, entry: None }).unwrap();
                } else {
                    draft.set_entry(topic, entry(&key, version, &value)).unwrap();
                    model.insert(place, (version, value));
                }
            }
            let sums = sums(model, plugin, topic);
            draft.set_entry_sums(topic, &StoredSums { sums, ..StoredSums::default() }).unwrap();
        }
        now(store.commit(draft)).unwrap();
    }
}

fn parts(entry: StoredEntry) -> (Bytes, Bytes) {
    let packed = entry.into_packed();
    (Bytes::copy_from_slice(packed.key()), Bytes::copy_from_slice(packed.value()))
}

fn assert_equals(store: &Store, model: &Model) {
    for plugin in ["a", "ab"] {
        let mut bytes = 0;
        for topic in TOPICS {
            let owner = owner(plugin);
            let rows = store.entry_rows(&owner, topic, Revision::default()).unwrap();
            let expected: Vec<_> = model
                .iter()
                .filter(|((of, at, _), _)| of == plugin && at == topic)
                .map(|((_, _, key), (_, value))| (key.clone(), value.clone()))
                .collect();
            let read = RangeRead { range: KeyRange::all(), order: Order::Forward, entries: 1000, bytes: 1 << 20 };
            let (found, has_ended) = now(rows.range(&read)).unwrap();
            let mut found: Vec<_> = found.into_iter().map(parts).collect();
            assert_eq!((&found, has_ended), (&expected, true), "{plugin} {topic}");
            let read = RangeRead { order: Order::Backward, ..read };
            found.reverse();
            assert_eq!(now(rows.range(&read)).unwrap().0.into_iter().map(parts).collect::<Vec<_>>(), found);
            for (key, value) in expected {
                assert_eq!(parts(now(rows.get(&key)).unwrap().unwrap()), (key, value));
            }
            let sums = sums(model, plugin, topic);
            assert_eq!(now(rows.sums()).unwrap().unwrap_or_default().sums, sums);
            assert_eq!(now(rows.count()).unwrap(), sums);
            bytes += sums.bytes;
        }
        assert_eq!(now(store.usage(plugin)).unwrap(), bytes, "the quota counts keys and values");
    }
}

fn exported(store: &Store) -> String {
    let mut out = Vec::new();
    now(store.export(None, &mut out)).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn entries_are_read_as_they_were_written_and_sums_equal_a_recount() {
    for mut random in Random::runs(20) {
        let (store, mut model) = (memory(), Model::new());
        for _ in 0..5 {
            change(&store, &mut random, &mut model);
            assert_equals(&store, &model);
        }
    }
}

#[test]
fn export_and_import_keep_entries_and_before_images_and_count_the_sums() {
    for mut random in Random::runs(20) {
        let (store, mut model) = (memory(), Model::new());
        change(&store, &mut random, &mut model);
        let mut draft = store.begin(&owner("a"));
        draft.set_entry_row(Kind::EntryFormers, &entry_name("room:1", b"k\xff").unwrap(), Some("before".into()));
        now(store.commit(draft)).unwrap();
        let text = exported(&store);
        assert!(text.contains("entry_before_base64"), "{text}");
        let other = memory();
        now(other.import(&mut text.as_bytes(), Existing::Refuse)).unwrap();
        assert_eq!(exported(&other), text);
        assert_equals(&other, &model);
        // An import over other entries counts all of them.
        change(&other, &mut random, &mut model);
        let merged = memory();
        let (before, after) = (exported(&store), exported(&other));
        now(merged.import(&mut before.as_bytes(), Existing::Refuse)).unwrap();
        now(merged.import(&mut after.as_bytes(), Existing::Merge)).unwrap();
        let rows: Vec<_> =
            ["a", "ab"].into_iter().flat_map(|plugin| TOPICS.map(|topic| (owner(plugin), topic))).collect();
        for (owner, topic) in rows {
            let rows = merged.entry_rows(&owner, topic, Revision::default()).unwrap();
            let sums = now(rows.sums()).unwrap().unwrap_or_default().sums;
            assert_eq!(sums, now(rows.count()).unwrap(), "{} {topic}", owner.name());
        }
        now(merged.import(&mut after.as_bytes(), Existing::Replace)).unwrap();
        assert_eq!(exported(&merged), after);
    }
}

#[test]
fn an_import_of_many_entries_counts_each_topic() {
    let store = memory();
    let topics = ["large", "small", "tiny"];
    for (topic, entries) in topics.into_iter().zip([1700, 3, 1]) {
        let mut draft = store.begin(&owner("a"));
        for n in 0..entries {
            draft.set_entry(topic, entry(format!("{n:04}").as_bytes(), 0, b"value")).unwrap();
        }
        now(store.commit(draft)).unwrap();
    }
    let other = memory();
    now(other.import(&mut exported(&store).as_bytes(), Existing::Refuse)).unwrap();
    for (topic, entries) in topics.into_iter().zip([1700, 3, 1]) {
        let owner = owner("a");
        let rows = other.entry_rows(&owner, topic, Revision::default()).unwrap();
        let sums = EntrySums { entries, bytes: entries * 9, published: 0 };
        assert_eq!(now(rows.sums()).unwrap(), Some(StoredSums { sums, ..StoredSums::default() }));
    }
}

#[test]
fn a_rename_moves_entries() {
    let (store, mut model) = (memory(), Model::new());
    let mut random = Random::new(3);
    while model.keys().filter(|(plugin, ..)| plugin == "a").count() == 0 {
        change(&store, &mut random, &mut model);
    }
    let entries = model.keys().filter(|(plugin, ..)| plugin == "a").count();
    assert_eq!(now(store.rename(&owner("a"), &owner("b"))).unwrap().rows as usize, entries);
    assert_eq!(now(store.usage("a")).unwrap(), 0);
    now(store.rename(&owner("b"), &owner("a"))).unwrap();
    assert_equals(&store, &model);
}

/// A read is one descent of the tree. No page is in memory, because redb reads all pages when a debug build opens a file.
#[tokio::test]
async fn the_first_read_of_a_large_topic_takes_at_most_four_page_reads() {
    let place = tempfile::tempdir().unwrap();
    let (a, limits) = (owner("a"), StoreLimits { cache_bytes: 0, ..StoreLimits::default() });
    let store = Store::open(place.path(), limits).await.unwrap();
    for part in 0..10_u32 {
        let mut draft = store.begin(&a);
        for n in 0..2000_u32 {
            let key = (part * 2000 + n).wrapping_mul(2_654_435_761).to_be_bytes();
            draft.set_entry("room:1", entry(&key, 0, &[7; 100])).unwrap();
        }
        store.commit(draft).await.unwrap();
    }
    store.close().await;
    // The file is closed in order only when the last handle is dropped.
    drop(store);
    for n in [0_u32, 777, 19_999] {
        let store = Store::open(place.path(), limits).await.unwrap();
        let before = store.page_reads();
        let rows = store.entry_rows(&a, "room:1", Revision::default()).unwrap();
        assert!(rows.get(&n.wrapping_mul(2_654_435_761).to_be_bytes()).await.unwrap().is_some());
        let reads = store.page_reads() - before;
        assert!((1..=4).contains(&reads), "{reads} reads");
        store.close().await;
    }
}
