//! The overlay of a call: its own writes, its limits of reads, the old entries, and allocations.

use std::sync::Arc;

use allocation_counter::measure;

use super::*;
use crate::limits::{ENTRIES_AT_ONCE_MAX, ENTRY_BYTES_AT_ONCE_MAX};

pub(super) fn rules(has_upgrade: bool) -> Arc<EntryRules> {
    Arc::new(EntryRules { version: 1, has_upgrade, publishes: Arc::new(["p/".into()]), ..EntryRules::default() })
}

/// The table of a memory room with these entries, of the version 1, and their sums.
pub(super) fn room(keys: &[&str], value: &[u8]) -> (EntryTable, EntrySums) {
    let (mut table, mut sums) = (EntryTable::complete(), EntrySums::default());
    for key in keys {
        table.write(entry_of(key.as_bytes(), 0, value).into_packed(), Some(1), true);
        sums.add(key.as_bytes(), value.len(), key.starts_with("p/"));
    }
    (table, sums)
}

pub(super) fn put(overlay: &mut Overlay, table: &EntryTable, key: &str, value: &str) {
    let done = overlay.put(table, key.as_bytes(), value.as_bytes());
    assert_eq!(done, Ok(Progress::Done(())), "{key}");
}

pub(super) fn keys(overlay: &Overlay, table: &EntryTable, order: Order, limit: u32) -> Result<String, Progress<()>> {
    let mut scan = EntryScan::new(None, None, order, limit).expect("no bounds");
    let mut found = Vec::new();
    let done = overlay.scan(table, &mut scan, &mut |key, _| found.push(String::from_utf8_lossy(key).into_owned()));
    if done == Progress::Done(()) { Ok(found.join(" ")) } else { Err(done) }
}

#[test]
fn a_call_reads_its_own_writes() {
    let (table, sums) = room(&["a", "b", "d"], b"old");
    let mut overlay = Overlay::new(rules(false), Some(sums));
    put(&mut overlay, &table, "b", "new");
    put(&mut overlay, &table, "c", "new");
    assert_eq!(overlay.delete(&table, b"a"), Ok(Progress::Done(())));
    let get = |key: &str| overlay.get(&table, key.as_bytes()).expect("an allowed key").done().expect("a known key");
    assert_eq!((get("a"), get("b"), get("d")), (None, Some(&b"new"[..]), Some(&b"old"[..])));
    assert_eq!(keys(&overlay, &table, Order::Forward, 10), Ok("b c d".into()));
    assert_eq!(keys(&overlay, &table, Order::Backward, 2), Ok("d c".into()));
    assert_eq!(keys(&overlay, &table, Order::Forward, 0), Ok(String::new()));
    let changes = overlay.into_changes().expect("changes");
    let kinds: Vec<_> = changes.iter().map(|change| (change.key, change.kind)).collect();
    assert_eq!(kinds, [(&b"a"[..], ChangeKind::Delete), (b"b", ChangeKind::Put), (b"c", ChangeKind::Put)]);
}

#[test]
fn a_put_is_allocated_once_and_moves_into_the_table() {
    let keys: Vec<_> = (0..100).map(|n| format!("{n:04}")).collect();
    let (mut table, sums) = room(&keys.iter().map(String::as_str).collect::<Vec<_>>(), b"old value");
    let rules = rules(false);
    let mut overlay = Overlay::new(rules.clone(), Some(sums));
    let writes = measure(|| {
        for key in &keys {
            put(&mut overlay, &table, key, "new value");
        }
    });
    // One for each entry, and the nodes of the map of changes, which have at least five changes each.
    assert!((100..=100 + 22).contains(&writes.count_total), "{writes:?}");
    let addresses = |table: &EntryTable| -> Vec<_> {
        keys.iter()
            .map(|key| match table.get(key.as_bytes()) {
                Found::Entry { value, .. } => value.as_ptr(),
                found => panic!("{found:?}"),
            })
            .collect()
    };
    let (old, new) =
        (addresses(&table), overlay.changes.iter().map(|(packed, _)| packed.value().as_ptr()).collect::<Vec<_>>());
    let changes = overlay.into_changes().expect("changes");
    let mut replaced = Vec::with_capacity(100);
    let commit = measure(|| {
        table.apply(changes, true, |change| match change.old {
            OldEntry::Entry { packed, .. } => replaced.push(packed),
            old => panic!("{old:?}"),
        });
    });
    assert_eq!(commit.count_total, 0, "{commit:?}");
    assert_eq!(addresses(&table), new);
    assert_eq!(replaced.iter().map(|packed| packed.value().as_ptr()).collect::<Vec<_>>(), old);
    // A call that only reads allocates nothing.
    let reads = measure(|| {
        let overlay = Overlay::new(rules.clone(), Some(sums));
        let mut scan = EntryScan::new(None, None, Order::Forward, 1000).expect("no bounds");
        let mut bytes = 0;
        assert_eq!(overlay.scan(&table, &mut scan, &mut |_, value| bytes += value.len()), Progress::Done(()));
        assert_eq!(bytes, 900);
        assert!(overlay.get(&table, b"0001").is_ok());
    });
    assert_eq!(reads.count_total, 0, "{reads:?}");
}

#[test]
fn an_entry_that_is_put_and_deleted_is_no_change() {
    let (table, sums) = room(&["a"], b"old");
    let mut overlay = Overlay::new(rules(false), Some(sums));
    put(&mut overlay, &table, "b", "new");
    assert_eq!((overlay.is_empty(), overlay.growth()), (false, 1 + 3 + 64));
    assert_eq!(overlay.delete(&table, b"b"), Ok(Progress::Done(())));
    assert_eq!(overlay.delete(&table, b"c"), Ok(Progress::Done(())));
    assert_eq!((overlay.is_empty(), overlay.growth()), (true, 0));
    assert!(overlay.into_changes().is_none());
}

#[test]
fn only_a_write_needs_the_sums() {
    let mut table = EntryTable::cache();
    table.fill_key(b"a", Some(entry_of(b"a", 1, b"old")));
    let mut overlay = Overlay::new(rules(false), None);
    assert_eq!(overlay.get(&table, b"a"), Ok(Progress::Done(Some(&b"old"[..]))));
    assert_eq!(overlay.put(&table, b"a", b""), Ok(Progress::Read(StoreRead::Sums)));
    assert_eq!(overlay.delete(&table, b"a"), Ok(Progress::Read(StoreRead::Sums)));
    let mut deletion = EntryDeletion::new(None, None, 1).expect("no bounds");
    assert_eq!(overlay.delete_range(&table, &mut deletion), Ok(Progress::Read(StoreRead::Sums)));
    overlay.set_sums(EntrySums { entries: 9, bytes: 100, published: 0 });
    put(&mut overlay, &table, "a", "");
    let sums = EntrySums { entries: 9, bytes: 97, published: 0 };
    assert_eq!(overlay.into_changes().map(|changes| changes.sums()), Some(sums));
}

#[test]
fn a_write_of_an_unknown_key_reads_the_entry_before() {
    let table = EntryTable::cache();
    let mut overlay = Overlay::new(rules(false), Some(EntrySums::default()));
    let read = |keys: &[&str]| StoreRead::Keys(keys.iter().map(|key| key.as_bytes().into()).collect());
    assert_eq!(overlay.put(&table, b"a", b""), Ok(Progress::Read(read(&["a"]))));
    assert_eq!(overlay.delete(&table, b"a"), Ok(Progress::Read(read(&["a"]))));
    let mut entries = [(&b"b"[..], &b"1"[..]), (b"c", b"2")].into_iter();
    assert_eq!(overlay.put_many(&table, &mut entries), Ok(Progress::Read(read(&["b", "c"]))));
    let many: Vec<_> = (0..1000_u32).map(u32::to_be_bytes).collect();
    let mut list = EntryList::new(many.iter().map(|key| &key[..])).expect("few keys");
    let done = overlay.get_many(&table, &mut list, &mut |_| panic!("no value is known"));
    assert!(matches!(done, Ok(Progress::Read(StoreRead::Keys(keys))) if keys.len() == read::KEYS_AT_ONCE));
}

#[test]
fn a_scan_asks_for_the_keys_that_are_unknown() {
    let mut table = EntryTable::cache();
    table.fill_key(b"c", Some(entry_of(b"c", 1, b"stored")));
    let mut overlay = Overlay::new(rules(false), Some(EntrySums::default()));
    table.fill_key(b"e", None);
    put(&mut overlay, &table, "e", "written");
    let scan = |start: &[u8], end: &[u8], order, limit| {
        let mut scan = EntryScan::new(Some(start), Some(end), order, limit).expect("short bounds");
        let mut found = Vec::new();
        match overlay.scan(&table, &mut scan, &mut |key, _| found.push(key[0])) {
            Progress::Read(StoreRead::Range(read)) => {
                let (start, end) = (read.range.start()[0], read.range.end().map(<[u8]>::to_vec));
                (found, Some((start, end.expect("an end"), read.entries)))
            }
            done => {
                assert_eq!(done, Progress::Done(()));
                (found, None)
            }
        }
    };
    use Order::{Backward, Forward};
    // The range ends directly after a known key.
    assert_eq!(scan(b"c", b"c\0", Forward, 9), (vec![b'c'], None));
    assert_eq!(scan(b"c", b"d", Forward, 1), (vec![b'c'], None));
    assert_eq!(scan(b"c", b"f", Forward, 9), (vec![b'c'], Some((b'c', b"f".into(), 8))));
    assert_eq!(scan(b"b", b"f", Forward, 9), (vec![], Some((b'b', b"f".into(), 9))));
    assert_eq!(scan(b"e", b"f", Backward, 9), (vec![], Some((b'e', b"f".into(), 9))));
    assert_eq!(scan(b"e", b"e\0", Backward, 9), (vec![], Some((b'e', b"e\0".into(), 9))));
    assert_eq!(scan(b"f", b"c", Backward, 9), (vec![], None));
}

#[test]
fn the_old_entry_is_kept_if_the_table_may_lose_it() {
    let old_of = |table: &EntryTable, rules: EntryRules, key: &str| {
        let mut overlay = Overlay::new(Arc::new(rules), Some(EntrySums::default()));
        put(&mut overlay, table, key, "[2]");
        let changes = overlay.into_changes().expect("changes");
        changes.iter().any(|change| matches!(change.old, OldEntry::Entry { .. }))
    };
    let mut cache = EntryTable::cache();
    cache.fill_key(b"a", Some(entry_of(b"a", 1, b"[1]")));
    cache.fill_key(b"p/a", Some(entry_of(b"p/a", 1, b"[1]")));
    let (complete, _) = room(&["a", "p/a"], b"[1]");
    let rules = EntryRules { publishes: Arc::new(["p/".into()]), ..EntryRules::default() };
    let journal = |old_bytes| EntryRules { old_bytes, ..rules.clone() };
    assert!(!old_of(&cache, rules.clone(), "a") && old_of(&cache, rules.clone(), "p/a"));
    assert!(!old_of(&complete, rules.clone(), "a") && !old_of(&complete, rules.clone(), "p/a"));
    assert!(old_of(&cache, journal(4), "a") && !old_of(&cache, journal(3), "a"));
}

#[test]
fn a_scan_ends_with_a_thousand_entries_or_a_mebibyte() {
    let names: Vec<_> = (0..1100).map(|n| format!("{n:04}")).collect();
    let (table, sums) = room(&names.iter().map(String::as_str).collect::<Vec<_>>(), b"");
    let overlay = Overlay::new(rules(false), Some(sums));
    let found = keys(&overlay, &table, Order::Backward, u32::MAX).expect("known entries");
    assert_eq!(found.split(' ').count(), ENTRIES_AT_ONCE_MAX);
    let half = vec![0; ENTRY_BYTES_AT_ONCE_MAX / 2];
    let (table, sums) = room(&["a", "b", "c"], &half);
    let overlay = Overlay::new(rules(false), Some(sums));
    assert_eq!(keys(&overlay, &table, Order::Forward, 10), Ok("a b".into()));
    let (table, sums) = room(&["a", "b"], &[half.clone(), half.clone()].concat());
    let overlay = Overlay::new(rules(false), Some(sums));
    assert_eq!(keys(&overlay, &table, Order::Backward, 10), Ok("b".into()));
    let mut list = EntryList::new([&b"a"[..], b"b"].into_iter()).expect("few keys");
    let fault = overlay.get_many(&table, &mut list, &mut |_| {}).expect_err("two mebibytes");
    assert_eq!(fault.to_string(), "oversize: the values of a get-many have more than 1048576 bytes");
    let many = vec![&b"a"[..]; 1001];
    let fault = EntryList::new(many.into_iter()).expect_err("too many keys");
    assert_eq!(fault.to_string(), "oversize: a get-many has 1001 keys; at most 1000");
}

#[test]
fn a_deletion_of_a_range_has_its_limits() {
    let names: Vec<_> = (0..1100).map(|n| format!("{n:04}")).collect();
    let (table, sums) = room(&names.iter().map(String::as_str).collect::<Vec<_>>(), b"value");
    let mut overlay = Overlay::new(rules(false), Some(sums));
    put(&mut overlay, &table, "0000/new", "");
    let mut delete = |start: Option<&[u8]>, end: Option<&[u8]>, limit| {
        let mut deletion = EntryDeletion::new(start, end, limit).expect("short bounds");
        overlay.delete_range(&table, &mut deletion).expect("no fault").done()
    };
    assert_eq!(delete(None, Some(b"0002"), 2), Some(2));
    assert_eq!(delete(None, Some(b"0002"), 5), Some(1));
    assert_eq!(delete(Some(b"0002"), Some(b"0001"), 5), Some(0));
    assert_eq!(delete(None, None, 0), Some(0));
    assert_eq!(delete(None, None, u32::MAX), Some(1000));
    assert_eq!(delete(None, None, u32::MAX), Some(98));
    assert_eq!(overlay.into_changes().map(|changes| changes.sums()), Some(EntrySums::default()));
}

#[test]
fn a_failed_commit_makes_the_old_entries_dirty() {
    let mut table = EntryTable::cache();
    for key in [&b"a"[..], b"b", b"e"] {
        table.fill_key(key, Some(entry_of(key, 3, b"old")));
    }
    table.fill_key(b"c", None);
    let mut overlay = Overlay::new(rules(false), Some(EntrySums::default()));
    ["a", "c", "e"].iter().for_each(|key| put(&mut overlay, &table, key, "new"));
    assert_eq!(overlay.delete(&table, b"b"), Ok(Progress::Done(())));
    let range = KeyRange::new(Some(b"e"), None).expect("short bounds");
    assert_eq!(table.evict_range(&range).slots, 1);
    let unknown = table.restore(overlay.into_changes().expect("changes"));
    assert_eq!(unknown, [Box::from(&b"e"[..])]);
    let dirty: Vec<_> = table.dirty().map(|dirty| (dirty.key, dirty.entry)).collect();
    let old = Some((3, &b"old"[..]));
    assert_eq!(dirty, [(&b"a"[..], old), (b"b", old), (b"c", None)]);
}
