use bennu_guest::testing::{Member, join};

use super::*;

fn alice() -> Member<Chat> {
    join("room:lobby", json!({ "user": "alice" })).expect("alice may join")
}

fn refused(topic: &str, user: &str) -> String {
    match join::<Chat>(topic, json!({ "user": user })) {
        Ok(_) => panic!("{user:?} may join {topic:?}"),
        Err(refusal) => refusal.reply().json()["reason"].to_string(),
    }
}

#[test]
fn everyone_sees_who_is_here() {
    let stage = testing::Stage::new().channel::<Chat>("room:*").now(1_000);
    let mut alice = stage.join("room:lobby", json!({ "user": "alice" })).unwrap();
    let mut bob = stage.join("room:lobby", json!({ "user": "bob" })).unwrap();
    bob.assert_push("presence_state", json!({ "alice": { "metas": [{ "online_at": 1_000 }] } }));
    alice.assert_broadcast("presence_diff", json!({ "joins": { "bob": { "metas": [{ "online_at": 1_000 }] } } }));
    bob.close();
    alice.assert_broadcast("presence_diff", json!({ "leaves": { "bob": {} } }));
}

#[test]
fn a_message_reaches_everyone_and_is_answered_with_its_id() {
    let mut alice = testing::Setup::new().now(1_000).join::<Chat>("room:lobby", json!({ "user": " alice " })).unwrap();
    let out = alice.push("new_msg", json!({ "body": "hi" }));
    let reply = out.reply().json();
    let message = json!({ "id": reply["id"], "user": "alice", "body": "hi", "at": 1_000 });
    assert_eq!(out.broadcasts(), [("new_msg", message)]);
}

#[test]
fn the_others_see_who_types() {
    let out = alice().push("typing", json!({ "typing": true }));
    assert_eq!(out.broadcasts_from(), [("typing", json!({ "user": "alice", "typing": true }))]);
    assert_eq!(out.answer(), &Answer::None);
}

#[test]
fn names_and_rooms_must_be_sane() {
    assert_eq!(refused("room:lobby", "  "), r#""a name has 1 to 32 characters""#);
    assert_eq!(refused("room:lobby", &"x".repeat(33)), r#""a name has 1 to 32 characters""#);
    assert_eq!(refused("room:", "alice"), r#""a room's name has letters, digits, - and _""#);
    assert_eq!(refused("room:no good", "alice"), r#""a room's name has letters, digits, - and _""#);
}

#[test]
fn a_bad_message_is_answered_and_not_sent() {
    let mut alice = alice();
    for (payload, reason) in [
        (json!({}), "body: missing, expected a string"),
        (json!({ "body": 1 }), "body: invalid type: integer `1`, expected a string"),
        (json!({ "body": " \n" }), "a message needs some text"),
        (json!({ "body": "x".repeat(2001) }), "a message has at most 2000 characters"),
    ] {
        let out = alice.push("new_msg", payload);
        assert_eq!(out.reply(), ("error", json!({ "reason": reason })));
        assert!(out.effects().is_empty());
    }
    assert_eq!(alice.push("shrug", json!({})).reply(), ("error", json!({ "reason": r#"unknown event "shrug""# })));
}
