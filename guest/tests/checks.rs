//! What the SDK refuses before the host does. Each fault has the place of the plugin's call.

#![allow(clippy::unwrap_used)]

use bennu_guest::prelude::*;
use bennu_guest::testing::{Member, join};

/// A member that asks for what no host accepts, or for the longest names.
#[derive(Serialize, Deserialize)]
struct Careless;

impl Channel for Careless {
    type Room = ();

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
            "send" => socket.send("careless:1", &name, json!(1)),
            "send_member" => socket.send_member("careless:1", 1, &name, json!(1)),
            "push_to_socket" => socket.push_to_socket("careless:1", &name, "e", json!({})),
            "subscribe" => socket.subscribe(&format!("careless:{}", &name[9..])),
            "droppable" => socket.broadcast_droppable(&name, "e", json!({})),
            "droppable_from" => socket.broadcast_from_droppable(&name, "e", json!({})),
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
            "status" => return reply_status(&name, json!(1)),
            _ => return odd(socket, event),
        }
        ok()
    }
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

fn fault(event: &str, payload: Value) -> Option<String> {
    let mut ada: Member<Careless> = join("careless:1", json!({})).unwrap();
    ada.push(event, payload).fault().map(ToString::to_string)
}

#[test]
fn a_name_has_at_most_255_bytes() {
    let names = [
        ("push", "an event"),
        ("broadcast", "an event"),
        ("broadcast_from", "an event"),
        ("publish", "an event"),
        ("send", "an event"),
        ("send_member", "an event"),
        ("push_to_socket", "a socket's id"),
        ("subscribe", "a topic"),
        ("droppable", "the key of a droppable message"),
        ("droppable_from", "the key of a droppable message"),
        ("send_self", "an event"),
        ("send_after", "an event"),
        ("schedule", "the key of a schedule"),
        ("cancel_schedule", "the key of a schedule"),
        ("track", "a presence's key"),
        ("reply_later", "a status"),
        ("status", "a status"),
    ];
    for (event, what) in names {
        assert_eq!(fault(event, json!({ "bytes": 255 })), None, "{event}");
        let refused = fault(event, json!({ "bytes": 256 })).unwrap();
        let has_place = refused.starts_with("trap: panicked at ") && refused.contains("tests/checks.rs:");
        assert!(
            has_place && refused.ends_with(&format!(": {what} has at most 255 bytes, not 256")),
            "{event}: {refused}"
        );
    }
}

#[test]
fn clients_get_objects_or_bytes() {
    let payload = "the payload of a push or broadcast must be a JSON object or binary";
    let odd = [
        ("array", payload),
        ("text", payload),
        ("to_socket", payload),
        ("cursor", payload),
        ("meta", "a presence's meta is a JSON object, and not null"),
        ("new_meta", "a presence's meta is a JSON object, and not an array"),
        ("state", "a published state is a JSON object, and not a number"),
    ];
    for (event, why) in odd {
        let refused = fault(event, json!({ "bytes": 0 })).unwrap();
        let has_place = refused.starts_with("trap: panicked at ") && refused.contains("tests/checks.rs:");
        assert!(has_place && refused.ends_with(why), "{event}: {refused}");
    }
    for event in ["blanks", "bytes"] {
        assert_eq!(fault(event, json!({ "bytes": 0 })), None, "{event}");
    }
}
