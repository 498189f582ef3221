//! Tests of the games, from the view of players and of members that watch.

use bennu_guest::testing::{Actor, Stage};

use super::*;

fn stage() -> Stage {
    let stage = Stage::new().channel::<lobby::Visitor>("lobby").channel::<four::Four>("four:*");
    stage.channel::<arena::Arena>("arena:*").now(0)
}

fn join(stage: &Stage, topic: &str, name: &str) -> Actor {
    stage.join(topic, json!({ "name": name, "key": format!("{name}'s long secret") })).unwrap()
}

fn state(actor: &Actor) -> Value {
    actor.room_state().unwrap()
}

fn ok(actor: &mut Actor, event: &str, payload: Value) {
    let asked = actor.push(event, payload);
    actor.assert_reply(&asked, "ok", json!({}));
}

fn refused(actor: &mut Actor, event: &str, payload: Value, reason: &str) {
    let asked = actor.push(event, payload);
    actor.assert_reply(&asked, "error", json!({ "reason": reason }));
}

/// Lets two players drop discs in turn.
fn play(players: [&mut Actor; 2], columns: &[usize]) {
    for (turn, column) in columns.iter().enumerate() {
        ok(players[turn % 2], "drop", json!({ "column": column }));
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_match_ends_and_can_be_played_again() {
    let stage = stage();
    let mut ada = join(&stage, "four:1", "ada");
    assert_eq!((ada.response().field("seat"), state(&ada)["phase"].clone()), (Ok(0), json!("waiting")));
    refused(&mut ada, "drop", json!({ "column": 0 }), "no match is being played");
    let mut bob = join(&stage, "four:1", "bob");
    let mut cy = join(&stage, "four:1", "cy");
    assert_eq!(cy.response().field("seat"), Ok(None::<u8>));

    refused(&mut bob, "drop", json!({ "column": 0 }), "it isn't your turn");
    refused(&mut cy, "drop", json!({ "column": 0 }), "you are watching");
    refused(&mut cy, "sit", json!({}), "no seat is free");
    refused(&mut ada, "drop", json!({ "column": 7 }), "there is no such column");
    play([&mut ada, &mut bob], &[0, 1, 0, 1, 0, 1, 0]);
    let won = json!({ "winner": 0, "why": "row", "row": [[0, 0], [0, 1], [0, 2], [0, 3]] });
    assert_eq!((&state(&cy)["phase"], &state(&cy)["end"]), (&json!("over"), &won));
    refused(&mut bob, "drop", json!({ "column": 0 }), "no match is being played");

    ok(&mut ada, "again", json!({}));
    assert_eq!(state(&cy)["phase"], "over", "one player alone doesn't play again");
    ok(&mut bob, "again", json!({}));
    let again = state(&cy);
    assert_eq!((&again["phase"], &again["turn"], &again["columns"]["0"]), (&json!("playing"), &json!(1), &json!("")));
    assert_eq!(again["players"]["0"]["score"], 1);
    ok(&mut bob, "resign", json!({}));
    assert_eq!(state(&ada)["end"], json!({ "winner": 0, "why": "resigned", "row": [] }));
    assert!(stage.faults().is_empty());
}

#[test]
fn a_dropped_player_returns_in_time_or_loses_the_match() {
    let stage = stage();
    let mut ada = join(&stage, "four:1", "ada");
    let mut bob = join(&stage, "four:1", "bob");
    play([&mut ada, &mut bob], &[3, 3]);
    bob.close();
    assert_eq!(state(&ada)["players"]["1"]["here"], false);
    ok(&mut ada, "drop", json!({ "column": 3 }));
    stage.advance(GRACE - seconds(1));
    let mut bob = join(&stage, "four:1", "bob");
    assert_eq!((bob.response().field("seat"), state(&bob)["columns"]["3"].clone()), (Ok(1), json!("010")));
    ok(&mut bob, "drop", json!({ "column": 3 }));

    ada.close();
    let mut cy = join(&stage, "four:1", "cy");
    refused(&mut cy, "sit", json!({}), "no seat is free");
    stage.advance(GRACE);
    assert_eq!(state(&bob)["end"], json!({ "winner": 1, "why": "left", "row": [] }));
    let sat = cy.push("sit", json!({}));
    cy.assert_reply(&sat, "ok", json!({ "seat": 0 }));
    assert_eq!(state(&bob)["phase"], "playing");
    assert!(stage.faults().is_empty());
}

#[test]
fn the_lobby_lists_games_and_removes_them() {
    let stage = stage();
    let visitor = stage.join("lobby", json!({})).unwrap();
    assert_eq!(state(&visitor), json!({ "games": {} }));
    let ada = join(&stage, "four:1", "ada");
    let waiting = json!({ "phase": "waiting", "players": ["ada"], "seats": 2, "watching": 0 });
    assert_eq!(state(&visitor)["games"], json!({ "four:1": waiting }));
    let (bob, cy) = (join(&stage, "four:1", "bob"), join(&stage, "four:1", "cy"));
    stage.advance(seconds(1));
    let playing = json!({ "phase": "playing", "players": ["ada", "bob"], "seats": 2, "watching": 1 });
    assert_eq!(state(&visitor)["games"]["four:1"], playing);

    // The lobby's room ends without visitors. The next one finds the running games.
    visitor.close();
    stage.advance(seconds(60));
    let visitor = stage.join("lobby", json!({})).unwrap();
    assert_eq!(state(&visitor)["games"]["four:1"]["players"], json!(["ada", "bob"]));

    for actor in [ada, bob, cy] {
        actor.close();
    }
    stage.advance(seconds(1));
    assert_eq!(state(&visitor)["games"], json!({}));
}

#[test]
fn runners_move_at_each_tick_and_stop_when_they_drop() {
    let stage = stage();
    let mut ada = join(&stage, "arena:1", "ada");
    let bob = join(&stage, "arena:1", "bob");
    stage.advance(Duration::from_millis(3050));
    assert_eq!((&state(&bob)["phase"], &state(&bob)["left"]), (&json!("playing"), &json!(90)));
    ada.push("go", json!({ "x": 0, "y": -2 }));
    stage.advance(Duration::from_millis(500));
    let seen = state(&bob);
    assert_eq!((&seen["players"]["0"]["x"], &seen["players"]["0"]["y"]), (&json!(500), &json!(450 - 170)));

    ada.close();
    stage.advance(seconds(1));
    assert_eq!((&state(&bob)["players"]["0"]["y"], &state(&bob)["players"]["0"]["here"]), (&json!(280), &json!(false)));
    let ada = join(&stage, "arena:1", "ada");
    assert_eq!(ada.response().field("seat"), Ok(0));
    stage.advance(seconds(90));
    assert_eq!(state(&ada)["phase"], "over");
    assert!(stage.faults().is_empty());
}

#[test]
fn a_round_is_played_again_when_all_have_asked() {
    let stage = stage();
    let mut ada = join(&stage, "arena:1", "ada");
    refused(&mut ada, "again", json!({}), "the round isn't over");
    let mut bob = join(&stage, "arena:1", "bob");
    let cy = join(&stage, "arena:1", "cy");
    stage.advance(seconds(94));
    ok(&mut ada, "again", json!({}));
    cy.close();
    stage.advance(seconds(1));
    assert_eq!(state(&bob)["phase"], "over");
    ok(&mut bob, "again", json!({}));
    stage.advance(seconds(1));
    assert_eq!(state(&bob)["phase"], "ready", "a player that has dropped isn't waited for");

    // A player that is gone isn't in the world any more, and a single player waits for another.
    stage.advance(GRACE);
    assert_eq!(state(&bob)["players"].as_object().unwrap().len(), 2);
    ada.leave();
    stage.advance(seconds(1));
    assert_eq!((&state(&bob)["phase"], &state(&bob)["players"]["0"]), (&json!("waiting"), &Value::Null));
}

#[test]
fn eight_play_and_the_ninth_watches() {
    let stage = stage();
    let _players: Vec<_> = (0..8).map(|n| join(&stage, "arena:1", &n.to_string().repeat(4))).collect();
    let mut ninth = join(&stage, "arena:1", "ninth");
    assert_eq!(ninth.response().field("seat"), Ok(None::<u8>));
    refused(&mut ninth, "go", json!({ "x": 1, "y": 0 }), "you are watching");
    refused(&mut ninth, "sit", json!({}), "no seat is free");
}

#[test]
fn an_invalid_join_is_refused_with_a_reason() {
    let stage = stage();
    let key = "a secret that is long enough";
    for (topic, params, reason) in [
        ("four:1", json!({ "key": key }), "name: missing, expected a string"),
        ("four:1", json!({ "name": " ", "key": key }), "a name has 1 to 24 characters"),
        ("arena:1", json!({ "name": "ada", "key": "short" }), "a key has 16 to 64 bytes"),
        ("four:", json!({ "name": "ada", "key": key }), "a game's name has 1 to 24 letters, digits and hyphens"),
        ("arena:a b", json!({ "name": "ada", "key": key }), "a game's name has 1 to 24 letters, digits and hyphens"),
    ] {
        assert_eq!(stage.join(topic, params).unwrap_err().reply(), ("error", json!({ "reason": reason })));
    }
    let mut ada = join(&stage, "four:1", "ada");
    refused(
        &mut ada,
        "drop",
        json!({ "column": -1 }),
        "column: invalid value: integer `-1`, expected a whole number that is not negative",
    );
    refused(&mut ada, "fly", json!({}), r#"unknown event "fly""#);
    assert!(stage.faults().is_empty());
}
