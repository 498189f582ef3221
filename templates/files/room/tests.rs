use bennu_guest::prelude::*;

use super::Voter;

fn stage() -> testing::Stage {
    testing::Stage::new().channel::<Voter>("poll:*")
}

#[test]
fn all_members_see_the_same_counts() {
    let stage = stage();
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
fn a_round_ends_although_nobody_is_there() {
    let stage = stage();
    let mut ada = stage.join("poll:drinks", json!({ "user": "Ada" })).unwrap();
    ada.push("vote", json!({ "choice": "water" }));
    ada.close();
    stage.advance(Duration::from_secs(60));

    let bo = stage.join("poll:drinks", json!({ "user": "Bo" })).unwrap();
    let shown = bo.room_state().unwrap();
    assert_eq!((&shown["winner"], &shown["counts"]["water"]), (&json!("water"), &json!(0)));
}

#[test]
fn only_the_choices_can_be_voted_for() {
    let mut ada = testing::join::<Voter>("poll:drinks", json!({ "user": "Ada" })).unwrap();
    let out = ada.push("vote", json!({ "choice": "milk" }));
    assert_eq!(out.reply(), ("error", json!({ "reason": "choice: expected one of tea, coffee, water" })));
}
