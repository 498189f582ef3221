//! The reads and writes of one call, their limits, and their conflicts.

use super::*;
use crate::store::{CommitError, Oversize, ReadError};

fn put(store: &Store, owner: &Owner, key: &str, value: &'static str) {
    let mut draft = store.begin(owner);
    draft.put(key.as_bytes(), value.into()).unwrap();
    now(store.commit(draft)).unwrap();
}

/// Commits a draft with one more write, to a key that no call reads.
fn outcome(store: &Store, mut draft: Draft) -> Result<Revision, CommitError> {
    draft.put(b"~", Bytes::new()).unwrap();
    now(store.commit(draft))
}

#[test]
fn exceeding_a_limit_is_an_error_and_leaves_the_other_writes() {
    let limits = StoreLimits {
        key_bytes: 3,
        value_bytes: 4,
        room_bytes: 5,
        writes_per_call: 2,
        write_bytes_per_call: 9,
        ..StoreLimits::default()
    };
    let store = Store::in_memory(limits).unwrap();
    let mut draft = store.begin(&owner("chat"));
    assert_eq!(draft.put(b"", Bytes::new()), Err(Oversize::NoKey));
    assert_eq!(draft.delete(b"long"), Err(Oversize::Key { bytes: 4, limit: 3 }));
    assert_eq!(now(draft.get(b"long")), Err(ReadError::Oversize(Oversize::Key { bytes: 4, limit: 3 })));
    assert_eq!(draft.put(b"a", "12345".into()), Err(Oversize::Value { bytes: 5, limit: 4 }));
    assert_eq!(draft.set_room("room", None), Err(Oversize::Key { bytes: 4, limit: 3 }));
    assert_eq!(draft.set_room("r", Some("123456".into())), Err(Oversize::Room { bytes: 6, limit: 5 }));
    assert!(now(draft.scan(&Scan { from: "long".into(), ..Scan::all(Direction::Forward) })).is_ok());
    assert!(now(draft.scan(&Scan { until: Some("longer".into()), ..Scan::all(Direction::Forward) })).is_err());
    draft.put(b"a", "1234".into()).unwrap();
    assert_eq!(draft.put(b"b", "1234".into()), Err(Oversize::WriteBytes { limit: 9 }));
    draft.put(b"b", "123".into()).unwrap();
    assert_eq!(draft.delete(b"c"), Err(Oversize::Writes { limit: 2 }));
    // A key that is written twice counts once, and a room doesn't count.
    draft.put(b"b", "12".into()).unwrap();
    draft.set_room("r", Some("1234".into())).unwrap();
    now(store.commit(draft)).unwrap();
    let mut draft = store.begin(&owner("chat"));
    let rows = now(draft.scan(&Scan::all(Direction::Forward))).unwrap().rows;
    assert_eq!(rows, [("a".into(), "1234".into()), ("b".into(), "12".into())]);
    assert_eq!(now(draft.room("r")).unwrap(), Some("1234".into()));
}

#[test]
fn a_scan_returns_at_most_the_limits_of_the_store() {
    let store = Store::in_memory(StoreLimits { scan_rows: 2, scan_bytes: 10, ..StoreLimits::default() }).unwrap();
    let chat = owner("chat");
    for (key, value) in [("a", ""), ("b", "12345678"), ("c", "a"), ("d", "too long a one"), ("e", "")] {
        put(&store, &chat, key, value);
    }
    let (mut draft, mut rest, mut pages) = (store.begin(&chat), Some(Scan::all(Direction::Forward)), Vec::new());
    while let Some(scan) = rest {
        let page = now(draft.scan(&scan)).unwrap();
        pages.push(page.rows.iter().map(|(key, _)| key.escape_ascii().to_string()).collect::<String>());
        rest = page.rest;
    }
    assert_eq!(pages, ["ab", "c", "d", "e"]);
}

type Reading = fn(&mut Draft);

/// Reads of a call, and the keys whose writes conflict with them.
const READINGS: [(&str, Reading, &[&str]); 6] = [
    ("a key", |draft| drop(now(draft.get(b"k3"))), &["k3"]),
    ("a key that isn't there", |draft| drop(now(draft.get(b"k4"))), &["k4"]),
    ("a range", |draft| read(draft, Direction::Forward, 9), &["k", "k2", "k3", "k4", "k5", "k6"]),
    ("a range's first row", |draft| read(draft, Direction::Forward, 1), &["k", "k2", "k3"]),
    ("a range's last row", |draft| read(draft, Direction::Backward, 1), &["k5", "k6"]),
    ("what it wrote itself", write_and_read, &[]),
];

fn read(draft: &mut Draft, direction: Direction, rows: usize) {
    assert_eq!(now(draft.scan(&Scan::prefix(b"k", direction).limit(rows))).unwrap().rows.len(), rows.min(2));
}

fn write_and_read(draft: &mut Draft) {
    draft.put(b"k3", "mine".into()).unwrap();
    assert_eq!(now(draft.get(b"k3")).unwrap(), Some("mine".into()));
}

#[test]
fn a_call_conflicts_with_writes_to_its_reads_and_with_no_others() {
    let chat = owner("chat");
    for (what, reading, by) in READINGS {
        for key in ["k", "k2", "k3", "k4", "k5", "k6", "l"] {
            let store = memory();
            put(&store, &chat, "k3", "here");
            put(&store, &chat, "k5", "here");
            let mut draft = store.begin(&chat);
            reading(&mut draft);
            put(&store, &owner("another"), key, "theirs");
            assert!(now(store.is_current(&draft)).unwrap());
            put(&store, &chat, key, "new");
            assert_eq!(now(store.is_current(&draft)).unwrap(), !by.contains(&key), "{what}, {key}");
            let outcome = outcome(&store, draft);
            assert_eq!(outcome.err(), by.contains(&key).then_some(CommitError::Conflict), "{what}, {key}");
        }
    }
}

#[test]
fn a_call_sees_the_store_as_it_was_when_the_call_began() {
    let (store, chat) = (memory(), owner("chat"));
    put(&store, &chat, "a", "1");
    let mut draft = store.begin(&chat);
    put(&store, &chat, "a", "2");
    put(&store, &chat, "b", "2");
    assert_eq!(now(draft.get(b"a")).unwrap(), Some("1".into()));
    assert_eq!(now(draft.get(b"b")).unwrap(), None);
    // Its commit succeeds because it only reads. `is_current` says whether the reads are outdated.
    assert!(!now(store.is_current(&draft)).unwrap());
    now(store.commit(draft)).unwrap();
    assert_eq!(now(store.begin(&chat).get(b"a")).unwrap(), Some("2".into()));
}

#[test]
fn each_topic_has_its_own_room() {
    let (store, chat) = (memory(), owner("chat"));
    let mut first = store.begin(&chat);
    first.set_room("room:a", Some("A".into())).unwrap();
    assert_eq!(now(first.room("room:a")).unwrap(), Some("A".into()));
    now(store.commit(first)).unwrap();
    let mut second = store.begin(&chat);
    assert_eq!(now(second.room("room:a")).unwrap(), Some("A".into()));
    assert_eq!(now(second.room("room:b")).unwrap(), None);
    assert_eq!(now(second.get(b"room:a")).unwrap(), None);
    assert_eq!(now(store.begin(&owner("other")).room("room:a")).unwrap(), None);
    let mut third = store.begin(&chat);
    third.set_room("room:b", Some("B".into())).unwrap();
    now(store.commit(third)).unwrap();
    assert_eq!(outcome(&store, second).err(), Some(CommitError::Conflict));
    let mut fourth = store.begin(&chat);
    fourth.set_room("room:a", None).unwrap();
    now(store.commit(fourth)).unwrap();
    assert_eq!(now(store.begin(&chat).room("room:a")).unwrap(), None);
}

#[test]
fn former_states_of_rooms_are_read_in_pages() {
    let (store, chat) = (memory(), owner("chat"));
    let topic = |number: usize| format!("room:{number:04}");
    let mut draft = store.begin(&chat);
    (0..450).for_each(|number| draft.set_former(&topic(number), Some("old".into())).unwrap());
    draft.set_former("other", None).unwrap();
    now(store.commit(draft)).unwrap();
    let (mut seen, mut last) = (Vec::new(), None);
    loop {
        let page = now(store.begin(&chat).formers_after(last.as_ref())).unwrap();
        let Some((behind, _)) = page.last().cloned() else { break };
        assert!(page.len() < 450, "a page doesn't have all rows");
        last = Some(behind);
        seen.extend(page.into_iter().map(|(topic, _)| topic));
    }
    assert_eq!(seen, (0..450).map(|number| Bytes::from(topic(number))).collect::<Vec<_>>());
    // A call that has read them conflicts with a call that writes one.
    let mut reading = store.begin(&chat);
    now(reading.formers_after(None)).unwrap();
    let mut draft = store.begin(&chat);
    draft.set_former(&topic(7), None).unwrap();
    now(store.commit(draft)).unwrap();
    reading.set_former(&topic(8), None).unwrap();
    assert_eq!(now(store.commit(reading)), Err(crate::store::CommitError::Conflict));
}

#[tokio::test]
async fn a_key_with_a_time_to_live_is_gone_after_it_and_is_swept_with_its_bytes() {
    let (store, owner) = (Store::in_memory(StoreLimits::default()).unwrap(), owner("chat"));
    let at = |now_ms| store.begin_at(&owner, now_ms);
    let mut draft = at(1000);
    for (key, milliseconds) in [("a", 10), ("b", 20), ("c", 20), ("d", 0)] {
        draft.put_expiring(key.as_bytes(), b"value", milliseconds).unwrap();
    }
    draft.put(b"e", "value".into()).unwrap();
    assert_eq!(draft.get(b"a").await.unwrap().unwrap(), "value");
    assert_eq!(draft.get(b"d").await.unwrap(), None, "a call sees its own writes, by its own time");
    store.commit(draft).await.unwrap();
    // A key that is put again has another time, or none.
    let mut draft = at(1005);
    draft.put_expiring(b"b", b"later", 100).unwrap();
    draft.put(b"c", "stays".into()).unwrap();
    store.commit(draft).await.unwrap();
    let keys = async |now_ms| {
        let page = at(now_ms).scan(&Scan::all(Direction::Forward)).await.unwrap();
        page.rows.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect::<Vec<_>>().join("")
    };
    assert_eq!((keys(1009).await, keys(1010).await, keys(1105).await), ("abce".into(), "bce".into(), "ce".into()));
    let before = store.usage("chat").await.unwrap();
    assert_eq!((store.sweep(1009).await, store.sweep(1050).await), (Ok(1), Ok(1)));
    assert_eq!((keys(0).await, store.sweep(1104).await), ("bce".into(), Ok(0)));
    assert_eq!((store.sweep(1105).await, keys(0).await), (Ok(1), "ce".into()));
    assert!(store.usage("chat").await.unwrap() < before);
    // Each hint was removed with its key, or because the key has another time.
    assert_eq!(store.sweep(u64::MAX).await, Ok(0));
}

#[tokio::test]
async fn expired_keys_do_not_end_a_scan() {
    let (store, owner) = (Store::in_memory(StoreLimits::default()).unwrap(), owner("chat"));
    let mut draft = store.begin_at(&owner, 0);
    (0..600_u32).for_each(|key| draft.put_expiring(&key.to_be_bytes(), b"", 1).unwrap());
    draft.put(b"z", "last".into()).unwrap();
    store.commit(draft).await.unwrap();
    let mut draft = store.begin_at(&owner, 5);
    let page = draft.scan(&Scan::all(Direction::Forward).limit(100)).await.unwrap();
    assert_eq!(page.rows, [("z".into(), "last".into())]);
}

#[test]
fn a_draft_that_was_paused_sees_what_is_committed_meanwhile_and_conflicts_with_changes_of_its_reads() {
    let store = Store::in_memory(StoreLimits::default()).unwrap();
    let chat = owner("chat");
    for (read_before, written_meanwhile, read_after, has_conflict) in [
        (&["a"][..], "a", &[][..], true),
        (&["a"], "b", &[], false),
        // The two reads are of different moments, and together they may be a state that never was.
        (&["a"], "b", &["b"], true),
        (&["a"], "b", &["c"], false),
        (&[], "b", &["b"], false),
    ] {
        let mut draft = store.begin(&chat);
        draft.put(b"own", "1".into()).unwrap();
        for key in read_before {
            now(draft.get(key.as_bytes())).unwrap();
        }
        let paused = draft.pause();
        put(&store, &chat, written_meanwhile, "new");
        let mut draft = store.resume(paused);
        for key in read_after {
            let value = now(draft.get(key.as_bytes())).unwrap();
            assert_eq!(value.is_some(), *key == written_meanwhile, "it sees what is committed");
        }
        assert_eq!(now(draft.get(b"own")).unwrap(), Some("1".into()), "it keeps its writes");
        assert_eq!(
            now(store.is_current(&draft)).unwrap(),
            !has_conflict,
            "{read_before:?} {written_meanwhile} {read_after:?}"
        );
        let expected = if has_conflict { Some(CommitError::Conflict) } else { None };
        assert_eq!(outcome(&store, draft).err(), expected, "{read_before:?} {written_meanwhile} {read_after:?}");
        let mut clear = store.begin(&chat);
        for key in ["a", "b", "c"] {
            clear.delete(key.as_bytes()).unwrap();
        }
        now(store.commit(clear)).unwrap();
    }
}

#[tokio::test]
async fn the_answer_to_a_request_is_kept_until_it_expires_and_decides_between_two_commits() {
    let (store, chat) = (Store::in_memory(StoreLimits::default()).unwrap(), owner("chat"));
    let (mut draft, mut late) = (store.begin_at(&chat, 1000), store.begin_at(&chat, 1000));
    for draft in [&mut draft, &mut late] {
        assert_eq!(draft.request(b"k").await.unwrap(), None);
        draft.set_request(b"k", b"answer", 100);
    }
    assert_eq!(draft.request(b"k").await.unwrap(), Some("answer".into()), "its own write");
    store.commit(draft).await.unwrap();
    assert_eq!(store.commit(late).await, Err(CommitError::Conflict));
    for (owner, now_ms, kept) in [("chat", 1099, true), ("chat", 1100, false), ("chess", 1000, false)] {
        let mut draft = store.begin_at(&self::owner(owner), now_ms);
        assert_eq!(draft.request(b"k").await.unwrap().is_some(), kept, "{owner} {now_ms}");
        assert_eq!(draft.scan(&Scan::all(Direction::Forward)).await.unwrap().rows, []);
    }
    assert!(store.usage("chat").await.unwrap() > 0, "it counts for the quota");
    assert_eq!((store.sweep(1099).await, store.sweep(1100).await), (Ok(0), Ok(1)));
    assert_eq!((store.usage("chat").await.unwrap(), store.sweep(u64::MAX).await), (0, Ok(0)));
    let mut draft = store.begin(&Owner::new("tiny", 10).unwrap());
    draft.set_request(b"k", b"answer", 100);
    assert!(matches!(store.commit(draft).await, Err(CommitError::Quota { .. })));
}
