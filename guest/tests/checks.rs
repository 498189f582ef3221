//! What the SDK refuses before the host does. Each fault has the place of the plugin's call.

#![allow(clippy::unwrap_used)]

use bennu_guest::prelude::*;
use bennu_guest::testing::{Member, Stage, join};

const URL: &str = "https://a.example/";

/// The host's words for a payload that clients can't get.
const NO_OBJECT: &str = "the payload of a push or broadcast must be a JSON object or binary";

/// A member, and a topic, that asks for what no host accepts, or for the longest names.
#[derive(Serialize, Deserialize)]
struct Careless;

impl Channel for Careless {
    type Room = ();
    const ENTRIES: bool = true;
    const PUBLISHES: &'static [&'static str] = &["x"];
    const INTERCEPTS: &'static [&'static str] = &["replaced"];

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(Careless)
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        let name = "x".repeat(payload.field("bytes")?);
        match event {
            "push" => socket.push(&name, json!({})),
            "broadcast" => socket.broadcast(&name, json!({})),
            "broadcast_from" => socket.broadcast_from(&name, Binary(vec![1])),
            "publish" => socket.publish("careless:1", &name, json!({})),
            "publish_topic" => socket.publish(&topic_of(&name), "e", json!({})),
            "send" => socket.send("careless:1", &name, json!(1)),
            "send_topic" => socket.send(&topic_of(&name), "e", json!(1)),
            "send_member" => socket.send_member("careless:1", 1, &name, json!(1)),
            "push_to_socket" => socket.push_to_socket("careless:1", &name, "e", json!({})),
            "subscribe" => socket.subscribe(&topic_of(&name)),
            "disconnect" => socket.disconnect(&name),
            "follow" => socket.follow(&name),
            "order" => drop(http::Delivery::new(URL).order(&name).send()),
            "on_failure" => drop(http::Delivery::new(URL).on_failure(&name).send()),
            "droppable" => socket.broadcast_droppable(&name, "e", json!({})),
            "droppable_from" => socket.broadcast_from_droppable(&name, "e", json!({})),
            "publish_droppable" => socket.publish_droppable("careless:1", &name, "e", json!({})),
            "publish_droppable_topic" => socket.publish_droppable(&topic_of(&name), "k", "e", json!({})),
            "send_self" => socket.send_self(&name, json!(1)),
            "send_after" => {
                socket.send_after(Duration::from_secs(1), &name, json!(1));
            }
            "schedule" => schedule::after("careless:1", Duration::from_secs(1), &name, "e", json!(1)),
            "cancel_schedule" => schedule::cancel("careless:1", &name),
            "track" => socket.track(&name, json!({})),
            "reply_later" => {
                let to = socket.reply_ref().unwrap();
                socket.reply_later(&to, Reply { status: name, payload: json!(1).into_payload() });
            }
            "answer" => {
                let to: AnswerRef = serde_json::from_value(json!("1")).unwrap();
                socket.answer(&to, Reply { status: name, payload: json!(1).into_payload() });
            }
            "status" => return reply_status(&name, json!(1)),
            _ => return odd(socket, event),
        }
        ok()
    }

    fn handle_message(topic: &mut Topic, event: &str, payload: Payload) -> Handled {
        let name = "x".repeat(payload.field("bytes")?);
        match event {
            "broadcast" => topic.broadcast(&name, json!({})),
            "publish" => topic.publish("careless:1", &name, json!({})),
            "publish_topic" => topic.publish(&topic_of(&name), "e", json!({})),
            "send" => topic.send("careless:1", &name, json!(1)),
            "send_topic" => topic.send(&topic_of(&name), "e", json!(1)),
            "send_member" => topic.send_member("careless:1", 1, &name, json!(1)),
            "push_to_socket" => topic.push_to_socket("careless:1", &name, "e", json!({})),
            "disconnect" => topic.disconnect(&name),
            "droppable" => topic.broadcast_droppable(&name, "e", json!({})),
            "publish_droppable" => topic.publish_droppable("careless:1", &name, "e", json!({})),
            "publish_droppable_topic" => topic.publish_droppable(&topic_of(&name), "k", "e", json!({})),
            "answer" => {
                let to = topic.answer_ref().unwrap();
                topic.answer(&to, Reply { status: name, payload: json!(1).into_payload() });
            }
            "array" => topic.broadcast("e", json!([1])),
            "text" => topic.publish("careless:1", "e", Payload::Json(" 1".into())),
            "to_socket" => topic.push_to_socket("careless:1", "id", "e", json!("text")),
            "cursor" => topic.broadcast_droppable("k", "e", json!(true)),
            "state" => topic.publish_state(json!(7)),
            _ => return unknown_event(event),
        }
        no_reply()
    }

    fn handle_out(&self, _recipient: &Recipient, _event: &str, _payload: &Payload) -> Decided {
        Ok(Decision::replace(json!([1])))
    }
}

/// A topic of the same length as a name.
fn topic_of(name: &str) -> String {
    format!("careless:{}", &name["careless:".len()..])
}

/// Asks for something that must be a JSON object.
fn odd(socket: &mut Socket, event: &str) -> Handled {
    match event {
        "array" => socket.push("e", json!([1])),
        "text" => socket.broadcast_from("e", Payload::Json(" 1".into())),
        "to_socket" => socket.push_to_socket("careless:1", "id", "e", json!("text")),
        "cursor" => socket.broadcast_droppable("k", "e", json!(true)),
        "meta" => socket.track("k", json!(null)),
        "new_meta" => socket.update_presence("k", json!([])),
        "state" => socket.publish_state(json!(7)),
        "blanks" => socket.push("e", Payload::Json("\n {}".into())),
        "bytes" => socket.push("e", Binary(vec![0])),
        _ => return unknown_event(event),
    }
    ok()
}

/// The fault of a member's callback.
fn fault(event: &str, bytes: usize) -> Option<String> {
    let mut ada: Member<Careless> = join("careless:1", json!({})).unwrap();
    ada.push(event, json!({ "bytes": bytes })).fault().map(ToString::to_string)
}

/// The fault of a topic's callback.
fn topic_fault(event: &str, bytes: usize) -> Option<String> {
    let stage = Stage::new().channel::<Careless>("careless:*").publish("x*");
    stage.send("careless:1", event, json!({ "bytes": bytes })).err().map(|fault| fault.to_string())
}

/// Asserts a fault that has the place of the call in this file.
#[track_caller]
fn assert_refused(event: &str, fault: Option<String>, why: &str) {
    let refused = fault.unwrap_or_default();
    let has_place = refused.starts_with("trap: panicked at ") && refused.contains("tests/checks.rs:");
    assert!(has_place && refused.ends_with(why), "{event}: {refused}");
}

#[test]
fn a_name_has_at_most_255_bytes() {
    let names = [
        ("push", "an event"),
        ("broadcast", "an event"),
        ("broadcast_from", "an event"),
        ("publish", "an event"),
        ("publish_topic", "a topic"),
        ("send", "an event"),
        ("send_topic", "a topic"),
        ("send_member", "an event"),
        ("push_to_socket", "a socket's id"),
        ("subscribe", "a topic"),
        ("disconnect", "a socket's id"),
        ("follow", "a prefix of entries"),
        ("order", "the order key of a delivery"),
        ("on_failure", "the event of a delivery's failure"),
        ("droppable", "the key of a droppable message"),
        ("droppable_from", "the key of a droppable message"),
        ("publish_droppable", "the key of a droppable message"),
        ("publish_droppable_topic", "a topic"),
        ("send_self", "an event"),
        ("send_after", "an event"),
        ("schedule", "the key of a schedule"),
        ("cancel_schedule", "the key of a schedule"),
        ("track", "a presence's key"),
        ("reply_later", "a status"),
        ("answer", "a status"),
        ("status", "a status"),
    ];
    for (event, what) in names {
        assert_eq!(fault(event, 255), None, "{event}");
        assert_refused(event, fault(event, 256), &format!(": {what} has at most 255 bytes, not 256"));
    }
}

#[test]
fn a_name_of_a_topics_callback_has_at_most_255_bytes() {
    let names = [
        ("broadcast", "an event"),
        ("publish", "an event"),
        ("publish_topic", "a topic"),
        ("send", "an event"),
        ("send_topic", "a topic"),
        ("send_member", "an event"),
        ("push_to_socket", "a socket's id"),
        ("disconnect", "a socket's id"),
        ("droppable", "the key of a droppable message"),
        ("publish_droppable", "the key of a droppable message"),
        ("publish_droppable_topic", "a topic"),
        ("answer", "a status"),
    ];
    for (event, what) in names {
        assert_eq!(topic_fault(event, 255), None, "{event}");
        assert_refused(event, topic_fault(event, 256), &format!(": {what} has at most 255 bytes, not 256"));
    }
}

#[test]
fn clients_get_objects_or_bytes() {
    let odd = [
        ("array", NO_OBJECT),
        ("text", NO_OBJECT),
        ("to_socket", NO_OBJECT),
        ("cursor", NO_OBJECT),
        ("meta", "a presence's meta is a JSON object, and not null"),
        ("new_meta", "a presence's meta is a JSON object, and not an array"),
        ("state", "a published state is a JSON object, and not a number"),
    ];
    for (event, why) in odd {
        assert_refused(event, fault(event, 0), why);
    }
    for event in ["blanks", "bytes"] {
        assert_eq!(fault(event, 0), None, "{event}");
    }
    for event in ["array", "text", "to_socket", "cursor"] {
        assert_refused(event, topic_fault(event, 0), NO_OBJECT);
    }
    assert_refused("state", topic_fault("state", 0), "a published state is a JSON object, and not a number");
}

#[test]
fn what_replaces_a_payload_is_an_object_or_bytes() {
    let stage = Stage::new().channel::<Careless>("careless:*");
    let _ada = stage.join("careless:1", json!({})).unwrap();
    stage.broadcast("careless:1", "replaced", json!({}));
    assert_refused("replaced", stage.faults().first().map(ToString::to_string), NO_OBJECT);
}
