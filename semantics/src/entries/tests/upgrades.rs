//! Upgrades of entries that another version wrote.

use std::sync::Arc;

use super::overlay::{keys, put, room, rules};
use super::*;
use crate::FaultKind;

fn upgrade<T>(keys: &[&[u8]]) -> Progress<T> {
    Progress::Upgrade(keys.iter().map(|key| (*key).into()).collect())
}

#[test]
fn an_entry_of_another_version_is_upgraded_before_it_is_read() {
    let (mut table, sums) = room(&["a", "b", "c"], b"old");
    for key in ["a", "c"] {
        table.write(entry_of(key.as_bytes(), 0, b"old").into_packed(), Some(0), true);
    }
    // Without the export, values pass unchanged.
    assert_eq!(keys(&Overlay::new(rules(false), Some(sums)), &table, Order::Forward, 9), Ok("a b c".into()));
    let mut overlay = Overlay::new(rules(true), Some(sums));
    assert_eq!(overlay.get(&table, b"a"), Ok(upgrade(&[b"a"])));
    assert_eq!(keys(&overlay, &table, Order::Forward, 9), Err(upgrade(&[b"a", b"c"])));
    let mut list = EntryList::new([&b"b"[..], b"c"].into_iter()).expect("few keys");
    assert_eq!(overlay.get_many(&table, &mut list, &mut |_| {}), Ok(upgrade(&[b"c"])));
    // A write needs no upgrade.
    put(&mut overlay, &table, "c", "written");
    for key in [&b"a"[..], b"c"] {
        assert_eq!(overlay.upgrade(&table, key, b"upgraded"), Ok(Progress::Done(())));
    }
    assert_eq!(overlay.get(&table, b"a"), Ok(Progress::Done(Some(&b"upgraded"[..]))));
    assert_eq!(overlay.get(&table, b"c"), Ok(Progress::Done(Some(&b"written"[..]))));
    // The upgrade remains for the next run, also if the call has overwritten it.
    put(&mut overlay, &table, "a", "written");
    overlay.rewind();
    assert_eq!(overlay.get(&table, b"a"), Ok(Progress::Done(Some(&b"upgraded"[..]))));
    assert_eq!(overlay.get(&table, b"c"), Ok(upgrade(&[b"c"])));
    let changes = overlay.into_changes().expect("an upgrade");
    assert_eq!(changes.iter().map(|change| change.kind).collect::<Vec<_>>(), [ChangeKind::Upgrade]);
    assert_eq!(changes.sums().bytes, sums.bytes + 5);
    table.apply(changes, true, |_| {});
    assert_eq!(table.get(b"a"), Found::Entry { version: 1, value: b"upgraded" });
}

#[test]
fn upgrades_do_not_count_as_writes_and_those_beyond_the_limit_are_only_shown() {
    let (mut table, sums) = room(&[], b"");
    for key in ["a", "b", "c"] {
        table.write(entry_of(key.as_bytes(), 0, b"old").into_packed(), Some(0), true);
    }
    let mut rules = EntryRules { version: 1, has_upgrade: true, ..EntryRules::default() };
    (rules.limits.writes_per_call, rules.limits.write_bytes_per_call) = (1, 10);
    let mut overlay = Overlay::new(Arc::new(rules), Some(sums));
    for key in ["a", "b", "c"] {
        assert_eq!(overlay.upgrade(&table, key.as_bytes(), b"four"), Ok(Progress::Done(())));
        assert_eq!(overlay.get(&table, key.as_bytes()), Ok(Progress::Done(Some(&b"four"[..]))));
    }
    assert_eq!(overlay.upgraded_bytes, 3 * 5);
    put(&mut overlay, &table, "d", "1");
    let changes = overlay.into_changes().expect("changes");
    let changed: Vec<_> = changes.iter().map(|change| change.key).collect();
    assert_eq!(changed, [b"a", b"b", b"d"]);
    table.apply(changes, true, |_| {});
    assert_eq!(table.get(b"c"), Found::Entry { version: 0, value: b"old" });
}

#[test]
fn an_upgrade_that_is_refused_is_a_fault() {
    let (mut table, sums) = room(&[], b"");
    table.write(entry_of(b"p/a", 0, b"{}").into_packed(), Some(0), true);
    let mut overlay = Overlay::new(rules(true), Some(sums));
    let kind = |done: Result<Progress<()>, Fault>| done.expect_err("a fault").kind;
    assert_eq!(kind(overlay.upgrade(&table, b"p/a", b"null")), FaultKind::Failed);
    assert_eq!(kind(overlay.upgrade(&table, b"p/a", &vec![b'1'; 2 << 20])), FaultKind::Oversize);
    // An entry that has gone needs no upgrade.
    assert_eq!(overlay.upgrade(&table, b"b", b""), Ok(Progress::Done(())));
    assert!(overlay.into_changes().is_none());
}

#[test]
fn a_search_finds_the_entries_of_other_versions_in_order() {
    let (mut table, sums) = room(&["a", "c"], b"new");
    for key in ["b", "d", "e"] {
        table.write(entry_of(key.as_bytes(), 0, b"old").into_packed(), Some(0), true);
    }
    let mut overlay = Overlay::new(rules(true), Some(sums));
    let found = |overlay: &Overlay, needed: &str, bytes| {
        let needed: Vec<Box<[u8]>> = needed.bytes().map(|key| [key].into()).collect();
        let mut found = Vec::new();
        let mut each = |stale: StaleEntry| found.push(String::from_utf8_lossy(&stale.key).into_owned());
        assert_eq!(overlay.scan_stale(&table, &mut StaleScan::beyond(&needed, bytes), &mut each), Progress::Done(()));
        found.concat()
    };
    assert_eq!(found(&overlay, "a", 100), "bde");
    assert_eq!(found(&overlay, "ab", 100), "de");
    assert_eq!(found(&overlay, "a", 8), "bd");
    assert_eq!(found(&overlay, "fe", 100), "db");
    put(&mut overlay, &table, "d", "written");
    assert_eq!(found(&overlay, "a", 100), "be");
    let stale = StaleEntry { key: (*b"b").into(), version: 0, value: (*b"old").into() };
    assert_eq!(overlay.stale(&table, b"b"), Progress::Done(Some(stale)));
    for key in [&b"a"[..], b"d", b"none"] {
        assert_eq!(overlay.stale(&table, key), Progress::Done(None));
    }
}

#[test]
fn each_run_upgrades_twice_as_much_and_a_call_needs_at_most_16_mib() {
    let (mut table, sums) = room(&[], b"");
    table.write(entry_of(b"a", 0, b"old").into_packed(), Some(0), true);
    let mut overlay = Overlay::new(rules(true), Some(sums));
    let ahead: Vec<_> = (0..8).map(|_| overlay.rewind_to_upgrade().1 >> 10).collect();
    assert_eq!(ahead, [64, 128, 256, 512, 1024, 2048, 4096, 4096]);
    let value = vec![b'x'; (1 << 20) - 2];
    for n in 0..16 {
        let key = [b'k', n];
        table.write(entry_of(&key, 0, b"old").into_packed(), Some(0), true);
        assert_eq!(overlay.rewind_to_upgrade().1 == 0, n > 8, "{n}");
        assert_eq!(overlay.upgrade(&table, &key, &value), Ok(Progress::Done(())));
    }
    let fault = overlay.upgrade(&table, b"a", b"new").expect_err("a fault").to_string();
    let text = "oversize: a call needs more than 16777216 bytes of entries that another version wrote; read fewer of them in one call";
    assert_eq!(fault, text);
}
