//! Gives the data of one name to another name.

use super::*;

async fn filled(names: &[&str]) -> Store {
    let store = memory();
    for name in names {
        let mut draft = store.begin(&owner(name));
        for at in 0..1500 {
            draft.put(format!("{name}-{at}").as_bytes(), "v".into()).unwrap();
            if draft.writes.len() == 1000 {
                store.commit(std::mem::replace(&mut draft, store.begin(&owner(name)))).await.unwrap();
            }
        }
        draft.set_room("room:1", Some("r".into())).unwrap();
        store.commit(draft).await.unwrap();
    }
    store
}

fn exported(store: &Store) -> String {
    let mut out = Vec::new();
    now(store.export(None, &mut out)).unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn a_rename_moves_all_data_and_its_usage() {
    let store = filled(&["chat", "a"]).await;
    let (before, usages) = (exported(&store), store.usages().await.unwrap());
    let renamed = store.rename(&owner("chat"), &owner("chat-2")).await.unwrap();
    assert_eq!(renamed.rows, 1501);
    assert_eq!(exported(&store).lines().count(), before.lines().count());
    assert_eq!(store.usages().await.unwrap(), [usages[0].clone(), ("chat-2".into(), usages[1].1)]);
    assert_eq!(store.begin(&owner("chat-2")).get(b"chat-7").await.unwrap(), Some("v".into()));
    assert_eq!(store.begin(&owner("chat-2")).room("room:1").await.unwrap(), Some("r".into()));
    assert_eq!(store.begin(&owner("chat")).room("room:1").await.unwrap(), None);
    store.rename(&owner("chat-2"), &owner("chat")).await.unwrap();
    assert_eq!(exported(&store), before);
}

#[tokio::test]
async fn a_rename_is_refused_without_data_or_onto_existing_data() {
    let store = filled(&["chat", "a"]).await;
    let before = exported(&store);
    for (old, new, why) in [("chat", "a", "already"), ("none", "b", "has nothing"), ("chat", "chat", "already")] {
        let error = store.rename(&owner(old), &owner(new)).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(exported(&store), before);
}
