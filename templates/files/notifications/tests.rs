use bennu_guest::prelude::*;

use super::{Inbox, Note};

#[test]
fn a_note_waits_until_it_is_read() {
    let stage = testing::Stage::new().channel::<Inbox>("inbox:*");
    stage.send("inbox:ada", "notify", json!({ "text": "hi" })).unwrap();

    let mut ada = stage.join("inbox:ada", json!({})).unwrap();
    let unread: Vec<Note> = ada.response().field("unread").unwrap();
    assert_eq!(unread.iter().map(|note| note.text.as_str()).collect::<Vec<_>>(), ["hi"]);
    ada.push("read", json!({ "id": unread[0].id }));
    ada.assert_broadcast("read", json!({ "id": unread[0].id }));
    let again = stage.join("inbox:ada", json!({})).unwrap();
    assert!(again.response().field::<Vec<Note>>("unread").unwrap().is_empty());
}

#[test]
fn a_user_tells_another_one_something() {
    let stage = testing::Stage::new().channel::<Inbox>("inbox:*");
    let mut ada = stage.join("inbox:ada", json!({})).unwrap();
    let mut bo = stage.join("inbox:bo", json!({})).unwrap();
    ada.push("tell", json!({ "user": "bo", "text": "tea?" }));
    bo.assert_broadcast("notified", json!({ "text": "tea?" }));
    ada.refute_broadcast("notified");
}
