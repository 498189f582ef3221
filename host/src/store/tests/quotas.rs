//! The exact count of a plugin's bytes, and its quota.

use super::*;
use crate::store::CommitError;

fn put(store: &Store, owner: &Owner, rows: &[(&str, usize)]) -> Result<Revision, CommitError> {
    let mut draft = store.begin(owner);
    rows.iter().for_each(|(key, bytes)| draft.put(key.as_bytes(), vec![0; *bytes].into()).unwrap());
    now(store.commit(draft))
}

fn usage(store: &Store, plugin: &str) -> u64 {
    now(store.usage(plugin)).unwrap()
}

#[test]
fn keys_values_and_rooms_count_and_deleted_ones_do_not() {
    let (store, chat) = (memory(), owner("chat"));
    put(&store, &chat, &[("key", 10), ("k", 0)]).unwrap();
    assert_eq!(usage(&store, "chat"), 14);
    put(&store, &chat, &[("key", 4)]).unwrap();
    assert_eq!(usage(&store, "chat"), 8);
    let mut draft = store.begin(&chat);
    draft.set_room("room", Some("state".into())).unwrap();
    draft.delete(b"nothing").unwrap();
    draft.delete(b"k").unwrap();
    now(store.commit(draft)).unwrap();
    assert_eq!(usage(&store, "chat"), 16);
    put(&store, &owner("other"), &[("key", 100)]).unwrap();
    assert_eq!(usage(&store, "chat"), 16);
    assert_eq!(now(store.usages()).unwrap(), [("chat".to_owned(), 16), ("other".to_owned(), 103)]);
    let mut draft = store.begin(&chat);
    draft.set_room("room", None).unwrap();
    draft.delete(b"key").unwrap();
    now(store.commit(draft)).unwrap();
    assert_eq!((usage(&store, "chat"), now(store.usages()).unwrap().len()), (0, 1));
}

#[test]
fn a_quota_is_exact_and_refuses_the_whole_call() {
    let store = memory();
    let chat = Owner::new("chat", 10).unwrap();
    put(&store, &chat, &[("a", 9)]).unwrap();
    assert_eq!(put(&store, &chat, &[("a", 1), ("b", 8)]), Err(CommitError::Quota { bytes: 11, most: 10 }));
    assert_eq!(now(store.begin(&chat).get(b"a")).unwrap().unwrap().len(), 9);
    put(&store, &chat, &[("a", 1), ("b", 7)]).unwrap();
    assert_eq!(usage(&store, "chat"), 10);
    put(&store, &owner("other"), &[("a", 100)]).unwrap();
}

#[test]
fn a_plugin_over_its_quota_may_still_delete_data() {
    let (store, chat) = (memory(), owner("chat"));
    put(&store, &chat, &[("a", 50), ("b", 50)]).unwrap();
    let less = Owner::new("chat", 10).unwrap();
    assert!(put(&store, &less, &[("c", 0)]).is_err());
    put(&store, &less, &[("a", 20)]).unwrap();
    put(&store, &less, &[("a", 20)]).unwrap();
    assert_eq!(usage(&store, "chat"), 72);
}

#[test]
fn calls_of_one_batch_share_the_rest_of_the_quota() {
    let (mut committer, shared) = committer(Memory::default(), StoreLimits::default());
    let chat = Owner::new("chat", 10).unwrap();
    let drafts = ["a", "b", "a", "c"].map(|key| {
        let mut draft = begin(&shared, &chat);
        draft.put(key.as_bytes(), "1234".into()).unwrap();
        draft
    });
    let outcomes = now(committer.settle(&drafts));
    let quota = Err(CommitError::Quota { bytes: 15, most: 10 });
    let (first, is_one_batch) = (outcomes[0].clone(), outcomes[0] == outcomes[1]);
    assert!(first.is_ok() && is_one_batch && outcomes[2] == first && outcomes[3] == quota, "{outcomes:?}");
}

#[test]
fn former_states_of_rooms_do_not_count() {
    let store = memory();
    let chat = Owner::new("chat", 10).unwrap();
    let mut draft = store.begin(&chat);
    draft.set_room("room", Some("state".into())).unwrap();
    draft.set_former("room", Some(vec![0; 1000].into())).unwrap();
    now(store.commit(draft)).unwrap();
    assert_eq!(usage(&store, "chat"), 9);
    let mut draft = store.begin(&chat);
    assert_eq!(now(draft.former("room")).unwrap().unwrap().len(), 1000);
    draft.set_former("room", None).unwrap();
    now(store.commit(draft)).unwrap();
    assert_eq!((usage(&store, "chat"), now(store.begin(&chat).former("room")).unwrap()), (9, None));
    // The quota doesn't prevent the host's own writes.
    let mut draft = store.begin(&chat.without_quota());
    draft.set_room("room", Some("larger state".into())).unwrap();
    now(store.commit(draft)).unwrap();
    assert_eq!(usage(&store, "chat"), 16);
}
