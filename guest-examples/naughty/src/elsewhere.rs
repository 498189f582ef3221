//! Events that affect more than the member: presences, further topics, topic messages, sockets, tokens.
//!
//! | event | result |
//! | --- | --- |
//! | `track_text {"key", "meta"}` | tracks the member, with a meta that is this text |
//! | `track {"key", "meta"}`, `update_presence {..}`, `untrack {"key"}`, `push_presence` | that effect |
//! | `presences {"topic"}` | replies with who is online there |
//! | `send {"topic", "event", "payload"}` | sends that event to the topic; the answer is pushed as `answered` |
//! | `send_member {"topic", "member", "event", "payload"}` | sends that event to that member, which pushes it as `addressed` |
//! | `push_to_socket {"topic", "id", "event", "payload"}` | pushes that event to those members |
//! | `subscribe {"topic"}`, `unsubscribe {"topic"}` | that effect; the events of that topic are pushed as `heard` |
//! | `disconnect {"id"}` | closes those sockets |
//! | `people {"topic"}`, `topics {"prefix"}` | replies with the list |
//! | `sign {"value"}`, `verify {"token"}` | replies with the token, or with its value |
//!
//! Messages to the topic itself: `echo` replies with its payload, `shout` broadcasts it, `shout_droppable {"to"}` sends it
//! as a droppable message to its own topic and to `to`, `crash` fails, `put` stores, `count {"key"}` adds one to a stored number, and `quiet` does nothing. `refuse_late` is
//! refused after a broadcast and a put. `tell_member {"topic", "member", "id"}` sends `told` to that member, and pushes `shown` to
//! those members. `bounce {"to"}` is sent to that topic and back without end. `spread {"width"}` is sent to
//! that number of new topics, and on from each of them. If the event `resound` comes from a further topic, it is
//! broadcast in the member's own topic.

use bennu_guest::bindings::bennu::channel::presence as imports;
use bennu_guest::prelude::*;

use super::{Naughty, storage};

/// The salt of these tokens.
const SALT: &str = "naughty";

impl Naughty {
    pub(crate) fn elsewhere(&self, socket: &mut Socket, event: &str, payload: &Payload) -> Option<Handled> {
        Some(match event {
            "track" | "track_text" | "update_presence" | "untrack" | "push_presence" | "presences" => {
                presence(socket, event, payload)
            }
            "send" | "send_member" | "push_to_socket" | "subscribe" | "unsubscribe" | "disconnect" => {
                reach(socket, event, payload)
            }
            "people" | "topics" => listed(event, payload),
            "sign" | "verify" => signed(event, payload),
            _ => return None,
        })
    }

    /// Handles an event of another topic, or the answer to a message.
    pub(crate) fn heard(&self, socket: &mut Socket, message: &Message) -> bool {
        let event = match message.source.as_str() {
            "topic" if message.event == "resound" => {
                socket.broadcast("resound", message.payload.clone());
                return true;
            }
            "topic" => "heard",
            "answer" => "answered",
            "member" => "addressed",
            _ => return false,
        };
        let payload = message.payload.parse::<Value>().unwrap_or_default();
        socket.push(event, json!({ "topic": message.topic, "event": message.event, "payload": payload }));
        true
    }
}

/// Handles a message to the topic itself.
pub(crate) fn on_message(topic: &mut Topic, event: &str, payload: Payload) -> Handled {
    match event {
        "echo" => reply(payload),
        "bytes" => reply(Binary(vec![1, 2, 3])),
        "shout" => {
            topic.broadcast("shout", payload);
            no_reply()
        }
        "shout_droppable" => {
            topic.broadcast_droppable("shouts", "shout", payload.clone());
            topic.publish_droppable(&payload.field::<String>("to")?, "shouts", "shout", payload);
            no_reply()
        }
        "refuse" => reply_error(json!({ "reason": "no" })),
        "refuse_late" => {
            topic.broadcast("late", json!({}));
            storage::put(&payload)?;
            refuse(json!({ "reason": "too late" }))
        }
        "tell_member" => {
            let (to, member): (String, u64) = (payload.field("topic")?, payload.field("member")?);
            topic.send_member(&to, member, "told", json!({}));
            topic.push_to_socket(&to, &payload.field::<String>("id")?, "shown", json!({}));
            no_reply()
        }
        "crash" => fail("asked to fail in handle_message"),
        "put" => storage::put(&payload),
        "count" => storage::count(&payload),
        "deliver" => super::http::deliver(&payload),
        "quiet" => no_reply(),
        "bounce" => {
            let to: String = payload.field("to")?;
            let back = topic.name().to_owned();
            topic.send(&to, "bounce", json!({ "to": back }));
            no_reply()
        }
        "spread" => spread(topic, &payload),
        _ => unknown_event(event),
    }
}

/// Sends the message to topics with new names.
fn spread(topic: &mut Topic, payload: &Payload) -> Handled {
    for _ in 0..payload.field("width")? {
        topic.send(&format!("naughty:{}", unique_id()), "spread", payload.clone());
    }
    no_reply()
}

fn presence(socket: &mut Socket, event: &str, payload: &Payload) -> Handled {
    let key = || payload.field::<String>("key");
    match event {
        "track" => socket.track(&key()?, payload.field::<Value>("meta")?),
        // The SDK can't send an invalid meta, so this calls the import directly.
        "track_text" => imports::track(&key()?, &payload.field::<String>("meta")?),
        "update_presence" => socket.update_presence(&key()?, payload.field::<Value>("meta")?),
        "untrack" => socket.untrack(&key()?),
        "push_presence" => socket.push_presence(),
        _ => return reply(Presences::of(&payload.field::<String>("topic")?)),
    }
    ok()
}

fn reach(socket: &mut Socket, event: &str, payload: &Payload) -> Handled {
    let topic = || payload.field::<String>("topic");
    match event {
        "send" => socket.send(&topic()?, &payload.field::<String>("event")?, payload.field::<Value>("payload")?),
        "send_member" => {
            let (member, event): (u64, String) = (payload.field("member")?, payload.field("event")?);
            socket.send_member(&topic()?, member, &event, payload.field::<Value>("payload")?);
        }
        "push_to_socket" => {
            let (id, event): (String, String) = (payload.field("id")?, payload.field("event")?);
            socket.push_to_socket(&topic()?, &id, &event, payload.field::<Value>("payload")?);
        }
        "subscribe" => socket.subscribe(&topic()?),
        "unsubscribe" => socket.unsubscribe(&topic()?),
        _ => socket.disconnect(&payload.field::<String>("id")?),
    }
    ok()
}

fn listed(event: &str, payload: &Payload) -> Handled {
    if event == "people" {
        let people = topics::members(&payload.field::<String>("topic")?, 1000);
        return reply(people.into_iter().map(|person| person.user).collect::<Vec<_>>());
    }
    let found = topics::under(&payload.field::<String>("prefix")?, None, 1000);
    reply(found.into_iter().map(|topic| json!([topic.name, topic.members])).collect::<Vec<_>>())
}

fn signed(event: &str, payload: &Payload) -> Handled {
    if event == "sign" {
        return reply(json!({ "token": token::sign(SALT, payload.field::<Value>("value")?, None) }));
    }
    match token::verify::<Value>(SALT, &payload.field::<String>("token")?, None) {
        Ok(value) => reply(json!({ "value": value })),
        Err(error) => reply_error(json!({ "reason": error.to_string() })),
    }
}
