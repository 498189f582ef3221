//! The faults of writes: limits, and published entries that aren't JSON.

use std::sync::Arc;

use super::*;
use crate::FaultKind;
use crate::limits::{EntryLimits, keys};

fn overlay(limits: EntryLimits, sums: EntrySums) -> Overlay {
    let rules = EntryRules { limits, publishes: Arc::new(["p/".into()]), ..EntryRules::default() };
    Overlay::new(Arc::new(rules), Some(sums))
}

fn put(overlay: &mut Overlay, key: &[u8], value: &[u8]) -> Result<(), String> {
    let done = overlay.put(&EntryTable::complete(), key, value);
    done.map(|done| assert_eq!(done, Progress::Done(()))).map_err(|fault| {
        assert!(fault.kind == FaultKind::Oversize || fault.detail.contains("is published"), "{fault}");
        fault.to_string()
    })
}

#[test]
fn each_limit_has_a_fault_with_its_key() {
    let (none, limits) = (EntrySums::default(), EntryLimits::default());
    let mut call = overlay(EntryLimits { value_bytes: 3, ..limits }, none);
    assert_eq!(put(&mut call, b"k", b"123"), Ok(()));
    let text = "oversize: the value of an entry has 4 bytes; at most 3 (`limits.entry_bytes = 3`)";
    assert_eq!(put(&mut call, b"k", b"1234"), Err(text.into()));

    let mut call = overlay(EntryLimits { writes_per_call: 2, ..limits }, none);
    // A key that is written twice counts once.
    assert_eq!([b"a", b"b", b"a"].map(|key| put(&mut call, key, b"")), [Ok(()), Ok(()), Ok(())]);
    let text = "oversize: a call writes more than 2 entries (`limits.entry_writes_per_call = 2`)";
    assert_eq!(put(&mut call, b"c", b""), Err(text.into()));

    let mut call = overlay(EntryLimits { write_bytes_per_call: 10, ..limits }, none);
    assert_eq!((put(&mut call, b"a", b"1234"), put(&mut call, b"b", b"1234")), (Ok(()), Ok(())));
    let text = "oversize: a call writes more than 10 bytes of entries (`limits.entry_write_bytes_per_call = 10`)";
    assert_eq!(put(&mut call, b"b", b"12345"), Err(text.into()));
    assert_eq!(put(&mut call, b"b", b"123"), Ok(()));

    let sums = EntrySums { entries: 1, bytes: 95, published: 0 };
    let mut call = overlay(EntryLimits { bytes_per_topic: 100, ..limits }, sums);
    assert_eq!(put(&mut call, b"k", b"1234"), Ok(()));
    let key = "(`limits.entries_bytes_per_topic = 100`)";
    let text = format!("oversize: the entries of a topic would have 101 bytes; at most 100 {key}");
    assert_eq!(put(&mut call, b"k", b"12345"), Err(text));

    // As JSON: `"p/k":"...",`.
    let mut call = overlay(EntryLimits { published_bytes: 12, ..limits }, none);
    assert_eq!(put(&mut call, b"k", b"not published"), Ok(()));
    assert_eq!(put(&mut call, b"p/k", b"12345"), Ok(()));
    let text =
        "oversize: the published entries of a topic would have 13 bytes; at most 12 (`limits.published_bytes = 12`)";
    assert_eq!(put(&mut call, b"p/k", b"123456"), Err(text.into()));

    let memory = EntryLimits { memory_bytes: 100, ..limits };
    assert_eq!(memory.check_memory(100), Ok(()));
    let text = memory.check_memory(101).map_err(|fault| fault.to_string());
    let key = keys::ENTRIES_MEMORY_BYTES;
    let expected =
        format!("oversize: the entries of all memory rooms would have 101 bytes; at most 100 (`limits.{key} = 100`)");
    assert_eq!(text, Err(expected));
}

#[test]
fn keys_have_one_to_255_bytes() {
    let mut call = overlay(EntryLimits::default(), EntrySums::default());
    assert_eq!(put(&mut call, &[b'k'; 255], b""), Ok(()));
    assert!(put(&mut call, &[b'k'; 256], b"").is_err() && put(&mut call, b"", b"").is_err());
    let table = EntryTable::complete();
    assert!(call.get(&table, b"").is_err() && call.delete(&table, &[b'k'; 256]).is_err());
    assert!(EntryScan::new(Some(&[b'k'; 257]), None, Order::Forward, 1).is_err());
    assert!(EntryDeletion::new(None, Some(&[b'k'; 257]), 1).is_err());
}

#[test]
fn a_topic_above_a_lowered_limit_can_become_smaller() {
    let (mut table, mut sums) = (EntryTable::complete(), EntrySums::default());
    for key in [&b"a"[..], b"p/b"] {
        table.write(entry_of(key, 0, b"[1,2,3]").into_packed(), Some(0), true);
        sums.add(key, 7, key == b"p/b");
    }
    let limits = EntryLimits { bytes_per_topic: 3, published_bytes: 3, ..EntryLimits::default() };
    let mut call = overlay(limits, sums);
    assert_eq!(call.put(&table, b"a", b"[1,2]"), Ok(Progress::Done(())));
    assert_eq!(call.put(&table, b"p/b", b"[1,2]"), Ok(Progress::Done(())));
    assert_eq!(call.put(&table, b"p/b", b"[2,1]"), Ok(Progress::Done(())));
    assert!(call.put(&table, b"p/b", b"[1,2,3]").is_err() && call.put(&table, b"a", b"[1,2,3]").is_err());
    assert_eq!(call.delete(&table, b"p/b"), Ok(Progress::Done(())));
}

#[test]
fn a_published_entry_is_json_and_not_null() {
    let mut call = overlay(EntryLimits::default(), EntrySums::default());
    for value in ["1", "\"text\"", " {\"a\": null} ", "[null]"] {
        assert_eq!(put(&mut call, b"p/k", value.as_bytes()), Ok(()), "{value}");
    }
    assert_eq!(put(&mut call, b"q/k", b"null"), Ok(()));
    let text = "failed: the entry `p/k` is published, so its value must not be null; delete the entry instead";
    assert_eq!(put(&mut call, b"p/k", b" null "), Err(text.into()));
    let start = "failed: the entry `p/k` is published, so its value must be JSON";
    for value in [&b""[..], b"{", b"1 2", b"1e999", b"\"\\ud800\"", b"\"\xff\""] {
        assert!(put(&mut call, b"p/k", value).is_err_and(|text| text.starts_with(start)), "{value:?}");
    }
    let text = put(&mut call, b"p/\xff", b"1");
    assert!(text.is_err_and(|text| text.ends_with("is published, so its key must be UTF-8")));
    // A fault has changed nothing.
    let table = EntryTable::complete();
    assert_eq!(call.get(&table, b"p/k"), Ok(Progress::Done(Some(&b"[null]"[..]))));
    let changes = call.into_changes().expect("changes");
    let mut parsed = Vec::new();
    EntryTable::complete().apply(changes, true, |change| parsed.extend(change.parsed));
    assert_eq!(parsed, [Box::new(serde_json::json!([null]))]);
}
