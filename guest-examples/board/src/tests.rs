//! Who may do what on a board, and what each message leaves on it.

use bennu_guest::prelude::*;
use bennu_guest::testing::{Actor, Setup, Stage};

use super::Painter;
use super::board::{BOARD, OWN, STROKES};

const TOPIC: &str = "board:reeds";
const ADA: &str = "adas0key0adas0key0";
const BO: &str = "bos00key0bos00key0";

fn stage() -> Stage {
    Stage::new().channel::<Painter>("board:*")
}

fn token(role: &str) -> String {
    testing::token("board", json!({ "board": TOPIC, "role": role }))
}

/// Ada joins. In each test she is the first one, so she owns the board.
fn owner(stage: &Stage) -> Actor {
    stage.join(TOPIC, json!({ "name": "Ada", "key": ADA })).expect("the first one may join")
}

fn guest(stage: &Stage) -> Actor {
    let params = json!({ "name": "Bo", "key": BO, "token": token("draw") });
    stage.join(TOPIC, params).expect("a link lets somebody draw")
}

fn joined(member: &Actor) -> Value {
    member.response().parse().expect("the response is JSON")
}

fn refused(stage: &Stage, params: Value) -> String {
    let refusal = stage.join(TOPIC, params).expect_err("the join is refused");
    refusal.reply().json()["reason"].as_str().expect("there is a reason").to_owned()
}

fn piece(stroke: &str, piece: u32, line: &str) -> Value {
    json!({ "stroke": stroke, "piece": piece, "color": 3, "width": 1, "line": line })
}

/// Draws a piece, and returns the id of its stroke.
fn draw(who: &mut Actor, stroke: &str, number: u32, line: &str) -> String {
    let push = who.push("draw", piece(stroke, number, line));
    let reply = who.assert_reply(&push, "ok", json!({}));
    reply.field("id").expect("a stroke has an id")
}

fn refuses(who: &mut Actor, event: &str, payload: Value, reason: &str) {
    let push = who.push(event, payload);
    who.assert_reply(&push, "error", json!({ "reason": reason }));
}

/// The pieces of all strokes, in the order in which the strokes were begun.
fn strokes(stage: &Stage) -> Vec<Value> {
    let strokes: Vec<(String, Value)> = stage.entries(TOPIC, &RoomMap::published("stroke/"));
    strokes.into_iter().map(|(_, stroke)| stroke["p"].clone()).collect()
}

#[test]
fn the_first_one_owns_a_board_and_others_need_a_link() {
    let stage = stage();
    let ada = owner(&stage);
    let answer = joined(&ada);
    assert_eq!((&answer["role"], &answer["owner"], &answer["undo"]), (&json!("draw"), &json!(true), &json!(0)));
    let own = json!({ "name": "Bo", "key": BO });
    assert_eq!(refused(&stage, own.clone()), "this board belongs to somebody else: ask for a link");
    let with = |token: String| json!({ "name": "Bo", "key": BO, "token": token });
    let elsewhere = testing::token("board", json!({ "board": "board:other", "role": "draw" }));
    let unknown_role = testing::token("board", json!({ "board": TOPIC, "role": "own" }));
    let other_salt = testing::token("user", json!({ "board": TOPIC, "role": "draw" }));
    for token in [elsewhere, unknown_role, other_salt, String::new(), "x".into()] {
        assert_eq!(refused(&stage, with(token)), "this link isn't valid for this board");
    }
    let answer = joined(&guest(&stage));
    assert_eq!((&answer["role"], &answer["owner"]), (&json!("draw"), &json!(false)));
    ada.close();
    assert_eq!(joined(&owner(&stage))["owner"], true, "the owner is known by its key");
}

#[test]
fn a_link_expires() {
    // A test's tokens are signed at the start of the year 2026.
    let (signed, month) = (1_767_225_600_000, 30 * 24 * 60 * 60 * 1000);
    let at =
        |now: u64| Stage::new().channel::<Painter>("board:*").now(now).join(TOPIC, json!({ "token": token("look") }));
    assert!(at(signed + month - 60_000).is_ok());
    let refusal = at(signed + month + 60_000).expect_err("the token is too old");
    assert_eq!(refusal.reply().json()["reason"], "this link has expired: ask for a new one");
}

#[test]
fn names_keys_and_topics_are_checked() {
    let stage = stage();
    let join = |name: &str, key: &str| refused(&stage, json!({ "name": name, "key": key }));
    assert_eq!(join(" ", ADA), "a name has 1 to 24 characters");
    assert_eq!(join(&"x".repeat(25), ADA), "a name has 1 to 24 characters");
    for key in ["", "short", "sixteen characters", &"x".repeat(65)] {
        assert_eq!(join("Ada", key), "a key has 16 to 64 letters and digits");
    }
    for topic in ["board:", "board:no/slash", &format!("board:{}", "x".repeat(41))] {
        let refusal = stage.join(topic, json!({ "name": "Ada", "key": ADA })).expect_err("the topic is refused");
        assert_eq!(refusal.reply().json()["reason"], "a board's name has 1 to 40 letters, digits and hyphens");
    }
}

#[test]
fn a_spectator_sees_the_strokes_and_can_do_nothing() {
    let stage = stage();
    let mut ada = owner(&stage);
    draw(&mut ada, "s1", 0, "eeeeee");
    let mut eyes = stage.join(TOPIC, json!({ "token": token("look") })).expect("a spectator needs only a token");
    assert_eq!(joined(&eyes)["role"], "look");
    assert_eq!(eyes.room_state(), ada.room_state());
    for event in ["draw", "undo", "cursor", "links", "clear"] {
        refuses(&mut eyes, event, piece("s2", 0, "ee"), "spectators can't draw");
    }
    assert_eq!(strokes(&stage).len(), 1);
    let owner = json!({ "name": "Ada", "key": ADA, "token": token("look") });
    let answer = joined(&stage.join(TOPIC, owner).expect("she may look"));
    assert_eq!((&answer["role"], &answer["owner"]), (&json!("look"), &json!(false)), "the link decides");
}

#[test]
fn links_give_their_roles() {
    let stage = stage();
    let mut ada = owner(&stage);
    let push = ada.push("links", json!({}));
    let links: Value = ada.assert_reply(&push, "ok", json!({})).parse().expect("the links are JSON");
    for role in ["draw", "look"] {
        let params = json!({ "name": "Bo", "key": BO, "token": links[role] });
        assert_eq!(joined(&stage.join(TOPIC, params).expect("the link is valid"))["role"], role);
    }
}

#[test]
fn a_stroke_grows_by_pieces_and_everyone_sees_it() {
    let stage = stage();
    let (mut ada, bo) = (owner(&stage), guest(&stage));
    let id = draw(&mut ada, "s1", 0, "eeee");
    assert_eq!(draw(&mut ada, "s1", 1, "CC"), id);
    assert_eq!(draw(&mut ada, "s1", 1, "EE"), id, "a piece that is sent again stays as it is");
    let shown = json!({ format!("stroke/{id}"): { "c": 3, "w": 1, "p": { "0": "eeee", "1": "CC" } } });
    assert_eq!(bo.room_state(), Some(shown));
    refuses(&mut ada, "draw", piece("s1", 3, "CC"), "the pieces of a stroke are numbered from 0 to 399, without a gap");
    refuses(&mut ada, "draw", piece("s2", 1, "CC"), "this stroke was removed");
    assert_eq!(strokes(&stage), [json!({ "0": "eeee", "1": "CC" })]);
}

#[test]
fn two_users_may_give_their_strokes_the_same_name() {
    let stage = stage();
    let (mut ada, mut bo) = (owner(&stage), guest(&stage));
    assert_ne!(draw(&mut ada, "s1", 0, "ee"), draw(&mut bo, "s1", 0, "cc"));
    assert_eq!(strokes(&stage), [json!({ "0": "ee" }), json!({ "0": "cc" })]);
}

#[test]
fn a_line_that_is_not_valid_is_refused_and_not_a_fault() {
    let stage = stage();
    let mut ada = owner(&stage);
    let encoding = "a line isn't encoded correctly";
    for line in ["e", "eee", "e!", "eé", "g", "ee____A", "eeeeeee_"] {
        refuses(&mut ada, "draw", piece("s1", 0, line), encoding);
    }
    refuses(&mut ada, "draw", piece("s1", 0, ""), "a line has at least one point");
    for outside in ["DC", "CD", "eehBA", "gggBA", "AgggB"] {
        refuses(&mut ada, "draw", piece("s1", 0, outside), "a line leaves the board");
    }
    refuses(&mut ada, "draw", piece("s1", 0, &"ee".repeat(1001)), "a piece has at most 2000 characters");
    for (name, value) in [("color", 8), ("width", 4)] {
        let mut wrong = piece("s1", 0, "ee");
        wrong[name] = json!(value);
        refuses(&mut ada, "draw", wrong, "there are 8 colors and 4 widths");
    }
    for name in ["", "no space", &"x".repeat(33)] {
        refuses(&mut ada, "draw", piece(name, 0, "ee"), "a stroke's name has 1 to 32 letters and digits");
    }
    refuses(&mut ada, "cursor", json!({ "x": -1, "y": 0 }), "the cursor isn't on the board");
    refuses(&mut ada, "shrug", json!({}), "unknown event \"shrug\"");
    assert!(strokes(&stage).is_empty());
    let push = ada.push("draw", json!({ "stroke": "s1" }));
    ada.assert_reply(&push, "error", json!({}));
}

#[test]
fn a_stroke_is_limited() {
    let stage = stage();
    let mut ada = owner(&stage);
    let long = "CC".repeat(1000);
    for number in 0..4 {
        draw(&mut ada, "s1", number, &long);
    }
    refuses(&mut ada, "draw", piece("s1", 4, "CC"), "a stroke has at most 8000 characters");
    for number in 0..400 {
        draw(&mut ada, "s2", number, "CC");
    }
    let reason = "the pieces of a stroke are numbered from 0 to 399, without a gap";
    refuses(&mut ada, "draw", piece("s2", 400, "CC"), reason);
    assert_eq!(strokes(&stage)[0]["3"], long);
}

#[test]
fn undo_removes_all_pieces_of_ones_own_last_stroke() {
    let stage = stage();
    let (mut ada, mut bo) = (owner(&stage), guest(&stage));
    for (name, line) in [("s1", "ee"), ("s2", "cc")] {
        draw(&mut ada, name, 0, line);
        draw(&mut ada, name, 1, "CC");
    }
    draw(&mut bo, "s1", 0, "aa");
    let undo = |who: &mut Actor, left: u32| {
        let push = who.push("undo", json!({}));
        who.assert_reply(&push, "ok", json!({ "undo": left }));
    };
    undo(&mut ada, 1);
    assert_eq!(strokes(&stage), [json!({ "0": "ee", "1": "CC" }), json!({ "0": "aa" })]);
    refuses(&mut ada, "draw", piece("s2", 2, "CC"), "this stroke was removed");
    // Another window of the same user undoes the same strokes.
    let mut window = owner(&stage);
    assert_eq!(joined(&window)["undo"], 1);
    undo(&mut window, 0);
    refuses(&mut ada, "undo", json!({}), "there is nothing to undo");
    assert_eq!(strokes(&stage), [json!({ "0": "aa" })]);
    undo(&mut bo, 0);
    assert!(strokes(&stage).is_empty());
}

#[test]
fn a_user_can_undo_the_last_hundred_strokes() {
    let stage = stage();
    let mut ada = owner(&stage);
    for number in 0..105 {
        draw(&mut ada, &format!("s{number}"), 0, "ee");
    }
    for left in (0..100).rev() {
        let push = ada.push("undo", json!({}));
        ada.assert_reply(&push, "ok", json!({ "undo": left }));
    }
    refuses(&mut ada, "undo", json!({}), "there is nothing to undo");
    assert_eq!(strokes(&stage).len(), 5);
}

#[test]
fn a_cursor_goes_to_the_others_and_only_its_last_place_matters() {
    let member = Setup::new().join::<Painter>(TOPIC, json!({ "name": "Ada", "key": ADA }));
    let mut ada = member.expect("the first one may join");
    let id = ada.joined().reply().json()["id"].clone();
    let out = ada.push("cursor", json!({ "x": 5, "y": 6 }));
    assert_eq!(out.broadcasts_from(), [("cursor", json!({ "id": id, "x": 5, "y": 6 }))]);
    let out = ada.push("cursor", json!({ "x": null, "y": null }));
    assert_eq!(out.broadcasts_from(), [("cursor", json!({ "id": id, "x": null, "y": null }))]);
}

#[test]
fn a_full_board_is_an_error_reply_and_an_undo_makes_room() {
    let stage = stage().config(json!({ "strokes": 2 }));
    let mut ada = owner(&stage);
    draw(&mut ada, "s1", 0, "ee");
    draw(&mut ada, "s2", 0, "ee");
    let push = ada.push("draw", piece("s3", 0, "ee"));
    ada.assert_reply(&push, "error", json!({ "reason": "the board is full", "full": true }));
    draw(&mut ada, "s2", 1, "CC");
    ada.push("undo", json!({}));
    draw(&mut ada, "s3", 0, "ee");
    assert_eq!(strokes(&stage).len(), 2);
}

#[test]
fn a_board_full_of_bytes_is_an_error_reply_too() {
    let stage = stage();
    let mut ada = owner(&stage);
    let line = "CC".repeat(1000);
    let strokes: Vec<_> = (0..194).map(|_| json!({ "color": 0, "width": 0, "line": line })).collect();
    for times in 1..=5 {
        let sent = stage.send(TOPIC, "add", json!({ "strokes": strokes })).expect("this isn't a fault");
        assert_eq!(sent.expect("a reply").json(), json!({ "strokes": times * 194 }));
    }
    let push = ada.push("draw", piece("s1", 0, &line));
    ada.assert_reply(&push, "error", json!({ "reason": "the board is full", "full": true }));
    draw(&mut ada, "s1", 0, "ee");
    let more = json!({ "strokes": [{ "color": 0, "width": 0, "line": line }] });
    let sent = stage.send(TOPIC, "add", more).expect("this isn't a fault").expect("a reply");
    assert_eq!(sent.json()["full"], true);
}

#[test]
fn another_program_draws_whole_strokes() {
    let stage = stage();
    let ada = owner(&stage);
    let some =
        json!({ "strokes": [{ "color": 1, "width": 2, "line": "eeCC" }, { "color": 7, "width": 3, "line": "cc" }] });
    let sent = stage.send(TOPIC, "add", some).expect("this isn't a fault").expect("a reply");
    assert_eq!(sent.json(), json!({ "strokes": 2 }));
    assert_eq!(strokes(&stage), [json!({ "0": "eeCC" }), json!({ "0": "cc" })]);
    assert_eq!(ada.room_state().and_then(|state| state.as_object().map(|all| all.len())), Some(2));
    let wrong =
        json!({ "strokes": [{ "color": 1, "width": 2, "line": "ee" }, { "color": 9, "width": 2, "line": "ee" }] });
    let sent = stage.send(TOPIC, "add", wrong).expect("this isn't a fault").expect("a reply");
    assert_eq!(sent.json()["reason"], "there are 8 colors and 4 widths");
    assert_eq!(strokes(&stage).len(), 2, "none of them is added");
    let many = vec![json!({ "color": 1, "width": 2, "line": "ee" }); 251];
    let sent = stage.send(TOPIC, "add", json!({ "strokes": many })).expect("this isn't a fault").expect("a reply");
    assert_eq!(sent.json()["reason"], "a message adds at most 250 strokes");
}

#[test]
fn the_owner_clears_a_large_board_in_steps() {
    let stage = stage();
    let (mut ada, mut bo) = (owner(&stage), guest(&stage));
    let some: Vec<_> = (0..250).map(|_| json!({ "color": 0, "width": 0, "line": "ee" })).collect();
    for _ in 0..3 {
        stage.send(TOPIC, "add", json!({ "strokes": some })).expect("this isn't a fault");
    }
    draw(&mut ada, "s1", 0, "ee");
    refuses(&mut bo, "clear", json!({}), "only the owner can clear the board");
    let push = ada.push("clear", json!({}));
    ada.assert_reply(&push, "ok", json!({}));
    bo.assert_broadcast("cleared", json!({ "name": "Ada" }));
    stage.advance(Duration::from_secs(1));
    assert!(strokes(&stage).is_empty());
    refuses(&mut ada, "undo", json!({}), "there is nothing to undo");
    draw(&mut bo, "s1", 0, "ee");
    assert_eq!(strokes(&stage).len(), 1, "strokes that are drawn later stay");
    assert_eq!(joined(&owner(&stage))["undo"], 0);
    assert_eq!(stage.entries(TOPIC, &STROKES).len() + stage.entries(TOPIC, &BOARD).len(), 2);
    assert_eq!(stage.entries(TOPIC, &OWN).len(), 2);
}
