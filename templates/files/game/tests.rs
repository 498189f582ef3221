use bennu_guest::prelude::*;

use super::Player;

#[test]
fn a_hit_is_a_point_and_a_miss_is_none() {
    let stage = testing::Stage::new().channel::<Player>("game:*");
    let mut ada = stage.join("game:1", json!({ "user": "Ada" })).unwrap();
    let mut bo = stage.join("game:1", json!({ "user": "Bo" })).unwrap();
    let target = ada.room_state().unwrap()["target"].clone();
    let hit = ada.push("hit", target);
    ada.assert_reply(&hit, "ok", json!({}));
    let miss = bo.push("hit", json!({ "x": 9, "y": 9 }));
    bo.assert_reply(&miss, "error", json!({ "reason": "missed" }));
    assert_eq!(bo.room_state().unwrap()["scores"], json!({ "Ada": 1, "Bo": 0 }));
}

#[test]
fn a_player_who_comes_back_in_time_keeps_the_score() {
    let stage = testing::Stage::new().channel::<Player>("game:*");
    let mut ada = stage.join("game:1", json!({ "user": "Ada" })).unwrap();
    let bo = stage.join("game:1", json!({ "user": "Bo" })).unwrap();
    let target = ada.room_state().unwrap()["target"].clone();
    ada.push("hit", target);
    ada.close();
    stage.advance(Duration::from_secs(9));
    let ada = stage.join("game:1", json!({ "user": "Ada" })).unwrap();
    assert_eq!(ada.room_state().unwrap()["scores"], json!({ "Ada": 1, "Bo": 0 }));
    bo.close();
    stage.advance(Duration::from_secs(11));
    let cy = stage.join("game:1", json!({ "user": "Cy" })).unwrap();
    assert_eq!(cy.room_state().unwrap()["scores"], json!({ "Ada": 1, "Cy": 0 }));
}
