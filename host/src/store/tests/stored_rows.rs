//! Single rows, pages of rows, and sizes of topics.

use super::*;
use crate::store::space::{Kind, entry_name};
use crate::store::{RowSet, StoredSums, TopicBytes};
use bennu_semantics::entries::EntrySums;

fn pages(store: &Store, set: &RowSet, prefix: &[u8], limit: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None::<Bytes>);
    loop {
        let page = now(store.stored_rows(&owner("a"), set, prefix, after.as_deref(), limit)).unwrap();
        found.extend(page.rows);
        match page.more_after {
            Some(last) => after = Some(last),
            None => return found,
        }
    }
}

#[test]
fn rows_are_found_by_their_key_and_by_a_prefix() {
    let store = memory();
    let mut draft = store.begin(&owner("a"));
    for key in [&b"k"[..], b"k\xff", b"k\xff\xff", b"l", b"ka"] {
        draft.put(key, "v".into()).unwrap();
    }
    draft.set_room("room:1", Some("one".into())).unwrap();
    let entry = |key: &[u8]| entry_name("room:1", key).unwrap();
    for key in [&b"e"[..], b"f"] {
        draft.set_entry_row(Kind::Entries, &entry(key), Some(b"\0\0\0\x02[1]"[..].into()));
    }
    draft.set_entry_row(Kind::Entries, &entry_name("room:10", b"e").unwrap(), Some(b"\0\0\0\0x"[..].into()));
    now(store.commit(draft)).unwrap();
    let mut other = store.begin(&owner("ab"));
    other.put(b"k", "v".into()).unwrap();
    now(store.commit(other)).unwrap();

    for limit in [1, 2, 1000] {
        let count = |set, prefix| pages(&store, set, prefix, limit).len();
        assert_eq!([count(&RowSet::Keys, b""), count(&RowSet::Keys, b"k"), count(&RowSet::Keys, b"k\xff")], [5, 4, 2]);
        assert_eq!([count(&RowSet::Rooms, b""), count(&RowSet::Rooms, b"x")], [1, 0]);
        let entries = pages(&store, &RowSet::Entries("room:1".into()), b"", limit);
        assert_eq!(
            entries,
            [
                r#"{"version":2,"plugin":"a","topic":"room:1","entry":"e","value":"[1]"}"#,
                r#"{"version":2,"plugin":"a","topic":"room:1","entry":"f","value":"[1]"}"#,
            ]
        );
        assert_eq!(pages(&store, &RowSet::Entries("room:1".into()), b"f", limit).len(), 1);
    }
    let one = |set: &RowSet, key| now(store.stored_row(&owner("a"), set, key)).unwrap();
    assert_eq!(one(&RowSet::Keys, b"l").unwrap(), r#"{"plugin":"a","key":"l","value":"v"}"#);
    assert_eq!(one(&RowSet::Rooms, b"room:1").unwrap(), r#"{"plugin":"a","room":"room:1","value":"one"}"#);
    assert!(one(&RowSet::Entries("room:1".into()), b"f").is_some());
    assert_eq!((one(&RowSet::Keys, b"none"), one(&RowSet::Keys, b"")), (None, None));
}

/// Large rooms, so that their pages end earlier than those of the sums.
#[test]
fn topics_have_the_bytes_of_their_rooms_and_their_entries() {
    let store = memory();
    let mut expected = Vec::new();
    for number in 0..300_u64 {
        let topic = format!("room:{number:03}");
        let mut draft = store.begin(&owner("a"));
        let room_bytes = if number % 3 == 0 { 0 } else { 5000 };
        if room_bytes > 0 {
            draft.set_room(&topic, Some(vec![0; 5000].into())).unwrap();
        }
        let sums = EntrySums { entries: number % 2, bytes: number % 2 * 10, published: 0 };
        draft.set_entry_sums(&topic, &StoredSums { sums, ..StoredSums::default() }).unwrap();
        now(store.commit(draft)).unwrap();
        if room_bytes > 0 || sums.entries > 0 {
            expected.push(TopicBytes { topic, room_bytes, entries: sums.entries, entries_bytes: sums.bytes });
        }
    }
    let (mut found, mut after, mut count) = (Vec::new(), None, 0);
    loop {
        let page = now(store.topic_bytes(&owner("a"), after.as_deref())).unwrap();
        found.extend(page.topics);
        count += 1;
        match page.more_after {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    assert_eq!((found, count > 2), (expected, true));
    assert_eq!(now(store.topic_bytes(&owner("b"), None)).unwrap(), Default::default());
}
