use bennu_guest::prelude::*;

use super::Chat;

#[test]
fn a_message_reaches_everybody_in_the_room() {
    let stage = testing::Stage::new().channel::<Chat>("room:*");
    let mut ada = stage.join("room:lobby", json!({ "user": "Ada" })).unwrap();
    let mut bo = stage.join("room:lobby", json!({ "user": "Bo" })).unwrap();
    ada.assert_broadcast("joined", json!({ "user": "Bo" }));

    let hi = ada.push("new_msg", json!({ "body": "hi" }));
    ada.assert_reply(&hi, "ok", json!({}));
    bo.assert_broadcast("new_msg", json!({ "user": "Ada", "body": "hi" }));

    ada.close();
    bo.assert_broadcast("left", json!({ "user": "Ada" }));
}

#[test]
fn a_client_without_a_name_cannot_join() {
    let refused = testing::join::<Chat>("room:lobby", json!({})).unwrap_err();
    assert_eq!(refused.reply(), ("error", json!({ "reason": "user: missing, expected a string" })));
}
