use bennu_guest::prelude::*;

use super::Voter;

#[test]
fn all_members_see_the_same_counts() {
    let stage = testing::Stage::new().channel::<Voter>("poll:*");
    let mut ada = stage.join("poll:drinks", json!({ "user": "Ada" })).unwrap();
    let mut bo = stage.join("poll:drinks", json!({ "user": "Bo" })).unwrap();

    ada.push("vote", json!({ "choice": "tea" }));
    bo.push("vote", json!({ "choice": "tea" }));
    let last = ada.push("vote", json!({ "choice": "water" }));
    ada.assert_reply(&last, "ok", json!({}));
    for member in [&ada, &bo] {
        assert_eq!(member.room_state().unwrap()["counts"], json!({ "tea": 1, "coffee": 0, "water": 1 }));
    }
}

#[test]
fn only_the_choices_can_be_voted_for() {
    let mut ada = testing::join::<Voter>("poll:drinks", json!({ "user": "Ada" })).unwrap();
    let out = ada.push("vote", json!({ "choice": "milk" }));
    assert_eq!(out.reply(), ("error", json!({ "reason": "choice: expected one of tea, coffee, water" })));
}
