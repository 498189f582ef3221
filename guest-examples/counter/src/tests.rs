use bennu_guest::testing::{Actor, Stage, upgrade, upgrade_room};

use super::*;

fn stage() -> Stage {
    Stage::new().channel::<Counter>("count:*")
}

fn join(stage: &Stage) -> Actor {
    stage.join("count:1", json!({})).expect("everyone may join")
}

fn asks(actor: &mut Actor, event: &str, response: Value) {
    let asked = actor.push(event, json!({ "n": 2 }));
    actor.assert_reply(&asked, "ok", response);
}

#[test]
fn everyone_sees_the_sum() {
    let stage = stage();
    let (mut alice, mut bob) = (join(&stage), join(&stage));
    asks(&mut alice, "add", json!({ "sum": 2 }));
    asks(&mut bob, "add", json!({ "sum": 4 }));
    alice.assert_broadcast("sum", json!({ "sum": 4 }));
    bob.assert_broadcast("sum", json!({ "sum": 2 }));
    asks(&mut alice, "get", json!({ "sum": 4 }));
    asks(&mut alice, "sum", json!({ "sum": 4 }));
    asks(&mut alice, "mine", json!({ "added": 2 }));
    asks(&mut alice, "members", json!({ "members": 2 }));
    let mut carol = stage.join("count:2", json!({})).expect("everyone may join");
    asks(&mut carol, "get", json!({ "sum": 0 }));
}

#[test]
fn a_join_can_set_the_tick_period() {
    let stage = stage();
    let mut alice = join(&stage);
    asks(&mut alice, "add", json!({}));
    let bob = stage.join("count:1", json!({ "tick": 100 })).expect("everyone may join");
    stage.advance(Duration::from_millis(200));
    for number in [1, 2] {
        alice.assert_broadcast("beat", json!({ "number": number, "missed": 0, "sum": 2 }));
    }
    bob.close();
    alice.close();
    stage.advance(Duration::from_secs(10));
    asks(&mut join(&stage), "get", json!({ "sum": 0 }));
}

#[test]
fn marks_are_part_of_the_room() {
    let stage = stage();
    let mut alice = join(&stage);
    let marked = alice.push("mark", json!({ "name": "a", "at": [1, 2] }));
    alice.assert_reply(&marked, "ok", json!({ "marks": 1 }));
    asks(&mut join(&stage), "get", json!({ "sum": 0, "marks": { "a": [1.0, 2.0] } }));
}

#[test]
fn a_sum_is_saved_and_loaded() {
    let stage = stage();
    let mut alice = join(&stage);
    let load = alice.push("load", json!({}));
    alice.assert_reply(&load, "error", json!({ "reason": "nothing was saved" }));
    asks(&mut alice, "add", json!({}));
    asks(&mut alice, "save", json!({ "sum": 2 }));
    assert_eq!(stage.stored("count:1"), Some(2));
    asks(&mut alice, "add", json!({ "sum": 4 }));
    asks(&mut alice, "load", json!({ "sum": 2 }));
    asks(&mut alice, "get", json!({ "sum": 2 }));
}

#[test]
fn another_version_upgrades_the_states() {
    let stage = stage();
    let mut alice = join(&stage);
    asks(&mut alice, "add", json!({}));
    stage.reload::<second::Counter>("count:*");
    asks(&mut alice, "mine", json!({ "given": 2, "times": 0 }));
    asks(&mut alice, "add", json!({ "sum": 4 }));
    asks(&mut alice, "get", json!({ "total": 4, "times": 1 }));
    let third = json!({ "amount": 7, "times": 3 });
    assert_eq!(upgrade(3, &third), Ok(second::Counter { given: 7, times: 3 }));
    assert_eq!(upgrade_room::<second::Counter>(3, &third), Ok(second::Room { total: 7, times: 3 }));
    assert!(upgrade::<second::Counter>(4, &third).is_err());
}
