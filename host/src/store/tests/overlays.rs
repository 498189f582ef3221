//! Compares a call's view, its own writes over the stored data, with a map.

use super::*;

#[test]
fn a_scan_sees_the_calls_own_writes_in_order() {
    for mut random in Random::runs(60) {
        let (store, chat) = (memory(), owner("chat"));
        // The keys of plugins with similar names are never seen.
        for name in ["chas", "chat2", "cha"] {
            let mut draft = store.begin(&owner(name));
            draft.put(b"a", "theirs".into()).unwrap();
            draft.set_room("a", Some("theirs".into())).unwrap();
            now(store.commit(draft)).unwrap();
        }
        let mut map = BTreeMap::new();
        let mut draft = store.begin(&chat);
        for _ in 0..random.below(30) {
            let (key, value) = (random.key(), random.value());
            draft.put(&key, value.clone()).unwrap();
            map.insert(key, value);
        }
        draft.set_room("a", Some("no key".into())).unwrap();
        now(store.commit(draft)).unwrap();
        let mut draft = store.begin(&chat);
        for _ in 0..30 {
            let key = random.key();
            match random.below(4) {
                0 => {
                    draft.delete(&key).unwrap();
                    map.remove(&key);
                }
                1 => {
                    let value = random.value();
                    draft.put(&key, value.clone()).unwrap();
                    map.insert(key, value);
                }
                2 => assert_eq!(now(draft.get(&key)).unwrap().as_ref(), map.get(&key)),
                _ => {
                    let scan = random.scan();
                    let page = now(draft.scan(&scan)).unwrap();
                    let limit = ScanLimit { rows: scan.rows.max(1), bytes: scan.bytes };
                    assert_eq!(page.rows, found(&map, &scan, limit).0, "{scan:?}");
                    assert_eq!(everything(&mut draft, &scan), found(&map, &scan, ALL).0, "{scan:?}");
                }
            }
        }
    }
}

const ALL: ScanLimit = ScanLimit { rows: usize::MAX, bytes: usize::MAX };

/// A scan with all its continuations.
fn everything(draft: &mut Draft, scan: &Scan) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut rest = Some(scan.clone());
    while let Some(scan) = rest {
        let page = now(draft.scan(&scan)).unwrap();
        assert!(!page.rows.is_empty() || page.rest.is_none());
        if let (Some(rest), Some((last, _))) = (&page.rest, page.rows.last()) {
            assert_eq!(*rest, scan.after(last));
        }
        rows.extend(page.rows);
        rest = page.rest;
    }
    rows
}

/// Rows that the call has deleted must not make a page shorter.
#[test]
fn deleted_rows_do_not_count_for_a_limit() {
    let (store, chat) = (memory(), owner("chat"));
    let mut draft = store.begin(&chat);
    (0..100).for_each(|n| draft.put(format!("{n:02}").as_bytes(), "v".into()).unwrap());
    now(store.commit(draft)).unwrap();
    let mut draft = store.begin(&chat);
    (0..98).for_each(|n| draft.delete(format!("{n:02}").as_bytes()).unwrap());
    let page = now(draft.scan(&Scan::all(Direction::Forward).limit(1))).unwrap();
    assert_eq!(page.rows, [("98".into(), "v".into())]);
    let page = now(draft.scan(&page.rest.unwrap())).unwrap();
    assert_eq!((page.rows, page.rest.is_some()), (vec![("99".into(), "v".into())], true));
}
