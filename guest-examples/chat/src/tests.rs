use bennu_guest::testing::{Actor, Member, Stage, join};

use super::*;

const ADAS: &str = "a1b2c3d4e5f6a7b8";
const BOS: &str = "0123456789abcdef";

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
    let stage = Stage::new().channel::<Chat>("room:*").now(1_000);
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
fn the_others_see_who_is_typing() {
    let out = alice().push("typing", json!({ "typing": true }));
    assert_eq!(out.broadcasts_from(), [("typing", json!({ "user": "alice", "typing": true }))]);
    assert_eq!(out.answer(), &Answer::None);
}

#[test]
fn invalid_names_and_rooms_are_refused() {
    assert_eq!(refused("room:lobby", "  "), r#""a name has 1 to 32 characters""#);
    assert_eq!(refused("room:lobby", &"x".repeat(33)), r#""a name has 1 to 32 characters""#);
    assert_eq!(refused("room:", "alice"), r#""a room's name has letters, digits, - and _""#);
    assert_eq!(refused("room:no good", "alice"), r#""a room's name has letters, digits, - and _""#);
}

#[test]
fn an_invalid_message_is_answered_and_not_sent() {
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

fn stage() -> Stage {
    Stage::new().channel::<Chat>("room:*").now(1_000)
}

fn enter(stage: &Stage, user: &str, key: &str, since: &str) -> Actor {
    stage.join("room:lobby", json!({ "user": user, "key": key, "known": since })).expect("everyone may join")
}

/// Sends a message, and returns its id.
fn say(stage: &Stage, who: &mut Actor, body: &str) -> String {
    let push = who.push("new_msg", json!({ "body": body }));
    who.assert_reply(&push, "ok", json!({}));
    let Known { mut messages, .. } = read(stage, "");
    messages.pop().expect("a message was sent").id
}

/// The response to a join.
#[derive(Deserialize)]
struct Known {
    messages: Vec<Said>,
    more: bool,
    anew: bool,
}

impl Known {
    fn bodies(&self) -> Vec<&str> {
        self.messages.iter().map(|said| said.body.as_str()).collect()
    }
}

/// Returns the response to a join of a client that knows everything up to an id.
fn read(stage: &Stage, since: &str) -> Known {
    let reader = stage.join("room:lobby", json!({ "user": "reader", "known": since })).unwrap();
    reader.response().parse().unwrap()
}

#[test]
fn a_new_client_gets_the_last_fifty_messages() {
    let stage = stage();
    assert!(read(&stage, "").messages.is_empty());
    let mut alice = enter(&stage, "alice", ADAS, "");
    for n in 1..=120 {
        alice.push("new_msg", json!({ "body": n.to_string() }));
    }
    let known = read(&stage, "");
    assert_eq!((known.bodies()[0], known.bodies()[49], known.messages.len()), ("71", "120", 50));
    assert!(known.anew && known.more);
}

#[test]
fn older_messages_are_sent_in_pages_of_fifty() {
    let mut alice = alice();
    let says = |n: i32| alice.push("new_msg", json!({ "body": n.to_string() })).reply().json()["id"].clone();
    let ids: Vec<Value> = (1..=70).map(says).collect();
    let mut page = |before: &Value| alice.push("older", json!({ "before": before })).reply().json();
    let ids_of = |page: &Value| -> Vec<Value> {
        page["messages"].as_array().unwrap().iter().map(|said| said["id"].clone()).collect()
    };
    let (newer, older) = (page(&ids[69]), page(&ids[19]));
    assert_eq!((ids_of(&newer), &newer["more"]), (ids[19..69].to_vec(), &json!(true)));
    assert_eq!((ids_of(&older), &older["more"]), (ids[..19].to_vec(), &json!(false)));
}

#[test]
fn a_returning_client_gets_each_missed_message_once() {
    let stage = stage();
    let mut alice = enter(&stage, "alice", ADAS, "");
    let first = say(&stage, &mut alice, "first");
    let second = say(&stage, &mut alice, "second");
    assert_eq!(read(&stage, &second).bodies(), [""; 0]);

    let third = say(&stage, &mut alice, "third");
    alice.push("edit", json!({ "id": first, "body": "first of all" }));
    alice.push("edit", json!({ "id": first, "body": "first, at last" }));
    alice.push("edit", json!({ "id": third, "body": "third, edited" }));
    let known = read(&stage, &second);
    assert_eq!(known.bodies(), ["first, at last", "third, edited"]);
    assert!(!known.anew);

    // From here on the client knows the changes too.
    let last = known.messages.iter().filter_map(|said| said.change.as_ref()).max().unwrap();
    assert_eq!(read(&stage, last).bodies(), [""; 0]);
    alice.push("delete", json!({ "id": second }));
    let known = read(&stage, last);
    assert_eq!((known.bodies(), known.messages[0].deleted), (vec![""], true));
}

#[test]
fn a_client_that_missed_too_much_gets_the_last_fifty() {
    let stage = stage();
    let mut alice = enter(&stage, "alice", ADAS, "");
    let first = say(&stage, &mut alice, "first");
    for n in 1..=200 {
        alice.push("new_msg", json!({ "body": n.to_string() }));
    }
    let known = read(&stage, &first);
    assert_eq!((known.messages.len(), known.anew), (200, false));
    alice.push("edit", json!({ "id": first, "body": "one more" }));
    let known = read(&stage, &first);
    assert_eq!((known.messages.len(), known.anew, known.more), (50, true, true));
}

#[test]
fn a_message_with_a_known_nonce_is_not_sent_again() {
    let stage = stage();
    let mut alice = enter(&stage, "alice", ADAS, "");
    let message = json!({ "body": "hi", "nonce": "n1" });
    alice.push("new_msg", &message);
    // The client has missed the answer, and connects again.
    alice.close();
    let mut alice = enter(&stage, "alice", ADAS, "");
    let again = alice.push("new_msg", &message);
    let known = read(&stage, "");
    assert_eq!((known.bodies(), known.messages[0].nonce.as_deref()), (vec!["hi"], Some("n1")));
    alice.assert_reply(&again, "ok", json!({ "id": known.messages[0].id }));
    alice.refute_broadcast("new_msg");

    // Another author's nonce is a different one.
    enter(&stage, "bob", BOS, "").push("new_msg", &message);
    assert_eq!(read(&stage, "").bodies(), ["hi", "hi"]);
}

#[test]
fn only_its_author_can_change_a_message() {
    let stage = stage();
    let (mut alice, mut bob) = (enter(&stage, "alice", ADAS, ""), enter(&stage, "bob", BOS, ""));
    let id = say(&stage, &mut alice, "hi");
    let edit = alice.push("edit", json!({ "id": id, "body": "hello" }));
    alice.assert_reply(&edit, "ok", json!({}));
    bob.assert_broadcast("edited", json!({ "id": id, "body": "hello", "edited": 1_000 }));

    // Not by another user, not with another key, and not with another name.
    let mut others = [bob, enter(&stage, "alice", BOS, ""), enter(&stage, "bob", ADAS, "")];
    let keyless = stage.join("room:lobby", json!({ "user": "alice" })).unwrap();
    for other in others.iter_mut().chain([&mut { keyless }]) {
        for event in ["edit", "delete"] {
            let tried = other.push(event, json!({ "id": id, "body": "mine" }));
            other.assert_reply(&tried, "error", json!({ "reason": "only the author can change a message" }));
        }
    }
    let [mut bob, ..] = others;
    bob.refute_broadcast("edited");

    let mut alice = enter(&stage, "alice", ADAS, "");
    for _ in 0..2 {
        let deleted = alice.push("delete", json!({ "id": id }));
        alice.assert_reply(&deleted, "ok", json!({}));
    }
    bob.assert_broadcast("deleted", json!({ "id": id }));
    bob.refute_broadcast("deleted");
    let edit = alice.push("edit", json!({ "id": id, "body": "once more" }));
    alice.assert_reply(&edit, "error", json!({ "reason": "the message was deleted" }));
}

#[test]
fn a_client_without_a_key_cannot_change_messages() {
    let stage = stage();
    let mut alice = stage.join("room:lobby", json!({ "user": "alice" })).unwrap();
    assert_eq!(alice.response().parse::<Value>().unwrap(), json!({}));
    let id = say(&stage, &mut alice, "hi");
    let edit = alice.push("edit", json!({ "id": id, "body": "hello" }));
    alice.assert_reply(&edit, "error", json!({ "reason": "only the author can change a message" }));
}

#[test]
fn past_its_limit_a_room_deletes_all_data_of_old_messages() {
    let stage = stage().config(json!({ "kept": 3 }));
    let mut alice = enter(&stage, "alice", ADAS, "");
    alice.push("new_msg", json!({ "body": "one", "nonce": "n1" }));
    let first = read(&stage, "").messages.remove(0);
    alice.push("edit", json!({ "id": first.id, "body": "One" }));
    let changed = read(&stage, "").messages.remove(0);
    for body in ["two", "three", "four"] {
        say(&stage, &mut alice, body);
    }
    assert_eq!(read(&stage, "").bodies(), ["two", "three", "four"]);
    let sent = format!("room:lobby/sent/{}/n1", first.author.unwrap());
    assert_eq!(stage.stored::<String>(sent), None);
    assert_eq!(stage.stored::<String>(format!("room:lobby/changed/{}", changed.change.unwrap())), None);
    assert_eq!(stage.stored::<u64>("room:lobby/count"), Some(3));

    // With a lower limit, the history shrinks with each new message.
    let stage = stage.config(json!({ "kept": 1 }));
    say(&stage, &mut alice, "five");
    assert_eq!(read(&stage, "").bodies(), ["four", "five"]);
    say(&stage, &mut alice, "six");
    assert_eq!(read(&stage, "").bodies(), ["six"]);
}

#[test]
fn rooms_with_a_common_prefix_are_separate() {
    let stage = stage();
    say(&stage, &mut enter(&stage, "alice", ADAS, ""), "hi");
    for room in ["room:lob", "room:lobby-2"] {
        let other = stage.join(room, json!({ "user": "bob", "known": "" })).unwrap();
        assert_eq!(other.response().field::<Vec<Value>>("messages").unwrap(), [json!(null); 0]);
    }
}

#[test]
fn invalid_ids_and_keys_are_answered() {
    let mut alice = join::<Chat>("room:lobby", json!({ "user": "alice", "key": ADAS })).unwrap();
    let endless = "x".repeat(65);
    for (event, payload, reason) in [
        ("edit", json!({ "id": "nowhere", "body": "hi" }), "there is no such message"),
        ("delete", json!({ "id": endless }), "an id has at most 20 characters"),
        ("older", json!({ "before": endless }), "an id has at most 20 characters"),
        ("edit", json!({ "id": "nowhere", "body": "" }), "a message needs some text"),
        ("new_msg", json!({ "body": "hi", "nonce": endless }), "a nonce has at most 64 characters"),
    ] {
        assert_eq!(alice.push(event, payload).reply(), ("error", json!({ "reason": reason })));
    }
    for (params, reason) in [
        (json!({ "user": "alice", "known": endless }), "an id has at most 20 characters"),
        (json!({ "user": "alice", "key": "short" }), "a key has 16 to 64 letters and digits"),
        (json!({ "user": "alice", "key": "not a key, by far" }), "a key has 16 to 64 letters and digits"),
    ] {
        let refusal = join::<Chat>("room:lobby", params).unwrap_err();
        assert_eq!(refusal.reply().json(), json!({ "reason": reason }));
    }
}

#[test]
fn a_member_of_an_older_build_without_histories_continues() {
    #[derive(Serialize, Deserialize)]
    struct Before {
        user: String,
    }
    impl Channel for Before {
        type Room = ();
        fn join(_: &mut Socket, _: Payload) -> Join<Self> {
            Ok(Before { user: "alice".to_owned() })
        }
    }
    let mut alice = join::<Before>("room:lobby", json!({})).unwrap().reload::<Chat>();
    assert_eq!(alice.push("new_msg", json!({ "body": "hi" })).reply().status, "ok");
}
