//! The native test of the channel.

use bennu_guest::prelude::*;

use super::Member;

#[test]
fn a_channel() {
    let stage = testing::Stage::new().channel::<Member>("room:*");
    let mut ada = stage.join("room:1", json!({ "user": "Ada" })).unwrap();
    let hi = ada.push("new_msg", json!({ "body": "hi" }));
    ada.assert_reply(&hi, "ok", json!({ "sent": 1, "messages": 1 }));
    ada.push("remind", json!({ "ms": 1000 }));
    stage.advance(Duration::from_secs(1));
    ada.assert_push("reminder", json!({ "payload": { "sent": 1 } }));
    ada.push("list", json!({}));
    assert_eq!(stage.faults().len(), 1);
}
