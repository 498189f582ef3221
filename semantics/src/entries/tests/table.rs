//! The table: gaps, pages, evictions, and entries that aren't stored yet.

use super::page::SLOTS_MAX;
use super::*;

fn packed(key: &str, value: &str) -> Packed {
    Packed::new(key.as_bytes(), value.as_bytes()).expect("an allowed key")
}

fn read(start: &str, end: Option<&str>) -> RangeRead {
    let range = KeyRange::new(Some(start.as_bytes()), end.map(str::as_bytes)).expect("short bounds");
    RangeRead { range, order: Order::Forward, entries: 100, bytes: 1 << 20 }
}

/// A table that has read a range of the store with entries of these keys, at the stamp 1.
fn filled(start: &str, end: Option<&str>, keys: &[&str]) -> EntryTable {
    let mut table = EntryTable::cache();
    table.set_now(1);
    let rows = keys.iter().map(|key| entry_of(key.as_bytes(), 0, b"stored")).collect();
    table.fill(&read(start, end), rows, true);
    table
}

/// The knowledge of a table about keys: `+` for an entry, `-` for none, `?` if the store has to be read.
fn known(table: &EntryTable, keys: &[&str]) -> String {
    let sign = |key: &&str| match table.get(key.as_bytes()) {
        Found::Entry { .. } => '+',
        Found::Absent => '-',
        Found::Unknown => '?',
    };
    keys.iter().map(sign).collect()
}

fn slots(table: &EntryTable) -> Vec<(&[u8], State)> {
    table.pages.iter().flat_map(|(_, page)| page.slots()).map(|slot| (slot.key(), slot.state())).collect()
}

fn fill_grade(table: &EntryTable) -> f64 {
    table.bytes().slots as f64 / (table.pages.len() * SLOTS_MAX) as f64
}

#[test]
fn a_read_in_a_complete_gap_needs_no_store() {
    let table = filled("b", Some("f"), &["c", "d"]);
    assert_eq!(known(&table, &["a", "b", "bb", "c", "cc", "d", "e", "f", "g"]), "?--+-+-??");
    let table = filled("", None, &["c"]);
    assert_eq!(known(&table, &["a", "c", "z"]), "-+-");
    assert_eq!(slots(&table).len(), 1);
    let table = filled("", None, &[]);
    assert_eq!(known(&table, &["a", "z"]), "--");
    assert_eq!(table.bytes(), TableBytes::default());
}

#[test]
fn neighbouring_reads_leave_no_border_between_them() {
    let mut table = filled("b", Some("d"), &["c"]);
    let rows = |keys: &[&str]| keys.iter().map(|key| entry_of(key.as_bytes(), 0, b"stored")).collect::<Vec<_>>();
    table.fill(&read("f", Some("h")), rows(&["g"]), true);
    assert_eq!(known(&table, &["b", "c", "d", "e", "f", "g", "h"]), "-+??-+?");
    table.fill(&read("d", Some("f")), rows(&[]), true);
    assert_eq!(known(&table, &["b", "c", "d", "e", "f", "g", "h"]), "-+---+?");
    assert_eq!(table.bytes().slots, 4, "b, c, g and the end of the last gap: {:?}", slots(&table));
    table.fill(&read("", None), rows(&["c", "g"]), true);
    assert_eq!(slots(&table), [(&b"c"[..], State::Present), (&b"g"[..], State::Present)]);
}

#[test]
fn a_read_that_ends_early_covers_only_its_rows() {
    let mut table = EntryTable::cache();
    table.fill(&read("a", Some("z")), vec![entry_of(b"c", 0, b""), entry_of(b"e", 0, b"")], false);
    assert_eq!(known(&table, &["a", "b", "c", "d", "e", "e\0", "f"]), "--+-+??");
    let mut table = EntryTable::cache();
    let backward = RangeRead { order: Order::Backward, ..read("a", Some("z")) };
    table.fill(&backward, vec![entry_of(b"e", 0, b""), entry_of(b"c", 0, b"")], false);
    assert_eq!(known(&table, &["a", "b", "c", "d", "e", "f", "y", "z"]), "??+-+--?");
}

#[test]
fn a_read_of_one_key_says_nothing_about_others() {
    let mut table = EntryTable::cache();
    table.fill_key(b"b", None);
    table.fill_key(b"d", Some(entry_of(b"d", 0, b"")));
    assert_eq!(known(&table, &["a", "b", "c", "d", "e"]), "?-?+?");
}

#[test]
fn the_longest_bounds_are_allowed() {
    let longest = "k".repeat(256);
    let mut table = EntryTable::cache();
    table.fill(&read("a", Some(&longest)), vec![entry_of(b"b", 0, b"")], true);
    table.fill(&read(&longest, Some("z")), vec![], true);
    assert_eq!(known(&table, &["a", "b", "c", &longest[1..], "y", "z"]), "-+---?");
}

#[test]
fn eviction_makes_only_its_own_gap_incomplete() {
    let mut table = filled("", None, &["b", "d", "f"]);
    table.set_now(2);
    assert_eq!(known(&table, &["b", "f"]), "++");
    let evicted = table.evict(1, b"", 100);
    assert_eq!((evicted.slots, evicted.bytes, evicted.next), (1, 1 + 6 + 64, None));
    assert_eq!(known(&table, &["a", "b", "c", "d", "e", "f", "g"]), "-+???+-");
    // The entries before the first slot are known until the slots after them are evicted.
    table.evict(0, b"", 100);
    assert_eq!((known(&table, &["a", "b", "g"]).as_str(), table.bytes()), ("???", TableBytes::default()));
}

#[test]
fn an_absent_key_between_complete_gaps_is_evicted_without_loss() {
    let mut table = filled("", None, &["b", "f"]);
    table.write(packed("d", ""), Some(0), false);
    table.write(packed("d", ""), None, false);
    assert_eq!(table.bytes().slots, 3);
    table.mark_stored();
    assert_eq!((table.bytes().slots, known(&table, &["c", "d", "e"]).as_str()), (2, "---"));
}

#[test]
fn a_stored_deletion_is_the_border_of_different_gaps() {
    let mut table = filled("b", Some("e"), &["b", "d"]);
    assert_eq!(known(&table, &["a", "b", "c"]), "?+-");
    table.write(packed("b", ""), None, true);
    assert_eq!(known(&table, &["a", "b", "c"]), "?--");
    table.write(packed("d", ""), None, true);
    assert_eq!((known(&table, &["c", "d", "dd", "e"]).as_str(), table.bytes().slots), ("---?", 2));
}

#[test]
fn a_dirty_slot_is_never_evicted_or_filled() {
    let mut table = filled("", None, &["a", "b"]);
    table.write(packed("b", "new"), Some(5), false);
    table.write(packed("c", ""), None, false);
    table.evict(0, b"", usize::MAX);
    table.evict_range(&KeyRange::all());
    table.fill(&read("", None), vec![entry_of(b"a", 0, b""), entry_of(b"b", 0, b""), entry_of(b"c", 0, b"")], true);
    table.fill_key(b"b", Some(entry_of(b"b", 0, b"")));
    assert_eq!(known(&table, &["a", "b", "c", "d"]), "++--");
    let dirty: Vec<_> = table.dirty().collect();
    let new = DirtyEntry { key: b"b", entry: Some((5, b"new")) };
    assert_eq!(dirty, [new, DirtyEntry { key: b"c", entry: None }]);
    assert_eq!(table.bytes().dirty_bytes, 1 + 3 + 64 + 1 + 64);
    table.mark_stored();
    assert_eq!((table.dirty().count(), table.bytes().dirty_bytes), (0, 0));
    assert_eq!(table.evict(0, b"", usize::MAX).slots, 2);
}

#[test]
fn a_complete_table_evicts_nothing() {
    let mut table = EntryTable::complete();
    table.write(packed("a", ""), Some(0), false);
    assert_eq!(table.evict(0, b"", usize::MAX), Evicted::default());
    assert_eq!(table.evict_range(&KeyRange::all()), Evicted::default());
    assert_eq!((known(&table, &["a", "b"]).as_str(), table.bytes().dirty_bytes), ("+-", 0));
}

#[test]
fn the_slots_that_were_used_least_recently_are_evicted() {
    let mut table = EntryTable::cache();
    let key = |n: u32| format!("{n:04}");
    for n in 0..1000 {
        table.set_now(n / 100);
        table.fill_key(key(n).as_bytes(), Some(entry_of(key(n).as_bytes(), 0, b"v")));
    }
    table.set_now(20);
    assert_eq!(known(&table, &["0042"]), "+");
    let (mut ages, mut from) = (std::collections::BTreeMap::new(), Some(Box::default()));
    while let Some(key) = from {
        from = table.ages(&key, 100, |age, bytes| *ages.entry(age).or_insert(0) += bytes);
    }
    assert_eq!((ages[&20], ages[&19], ages[&0]), (99 * 69, 100 * 69, 69));
    let (mut slots, mut steps, mut from) = (0, 0, Some(Box::default()));
    while let Some(key) = from {
        let evicted = table.evict(16, &key, 100);
        (slots, steps, from) = (slots + evicted.slots, steps + 1, evicted.next);
    }
    assert_eq!((slots, table.bytes().slots, known(&table, &["0042", "0499", "0500"]).as_str()), (499, 501, "+?+"));
    assert!((5..=10).contains(&steps), "{steps}");
}

#[test]
fn a_slot_is_older_than_a_newer_one_after_the_stamps_begin_again() {
    let mut table = EntryTable::cache();
    for (key, now) in [(b"a", (1 << 28) - 2), (b"b", 1 << 28)] {
        table.set_now(now);
        table.fill_key(key, Some(entry_of(key, 0, b"v")));
    }
    table.set_now((1 << 28) + 1);
    assert_eq!(table.evict(3, b"", 100).slots, 1);
    assert_eq!(known(&table, &["a", "b"]), "?+");
}

#[test]
fn sequential_keys_fill_pages() {
    let key = |n: usize| format!("key/{n:06}");
    let ascending: Vec<_> = (0..10_000).map(key).collect();
    let descending: Vec<_> = (0..10_000).rev().map(key).collect();
    for keys in [&ascending, &descending] {
        // Alone, and between other keys.
        for others in [&[][..], &["a", "z"]] {
            let mut table = EntryTable::complete();
            others.iter().for_each(|key| drop(table.write(packed(key, ""), Some(0), true)));
            keys.iter().for_each(|key| drop(table.write(packed(key, ""), Some(0), true)));
            assert!(fill_grade(&table) > 0.98, "{}", fill_grade(&table));
        }
    }
}

/// The bytes of the slots' vectors for each slot. A slot has 24.
fn bytes_of_slots(table: &EntryTable) -> usize {
    table.pages.iter().map(|(_, page)| page.capacity()).sum::<usize>() * size_of::<Slot>() / table.bytes().slots
}

#[test]
fn a_table_is_not_much_larger_than_its_slots() {
    let (mut table, mut noise) = (EntryTable::complete(), Noise::new(3));
    let mut keys: Vec<_> = (0..20_000).map(|_| format!("{:08}", noise.below(100_000_000))).collect();
    keys.iter().for_each(|key| drop(table.write(packed(key, "value"), Some(0), true)));
    assert!(
        fill_grade(&table) > 0.6 && bytes_of_slots(&table) <= 28,
        "{} {}",
        fill_grade(&table),
        bytes_of_slots(&table)
    );
    for _ in 0..18_000 {
        let key = keys.swap_remove(noise.below(keys.len()));
        table.write(packed(&key, ""), None, true);
    }
    assert!(
        fill_grade(&table) > 0.25 && bytes_of_slots(&table) <= 48,
        "{} {}",
        fill_grade(&table),
        bytes_of_slots(&table)
    );
    keys.iter().for_each(|key| drop(table.write(packed(key, ""), None, true)));
    assert_eq!((table.pages.len(), table.bytes()), (0, TableBytes::default()));
}
