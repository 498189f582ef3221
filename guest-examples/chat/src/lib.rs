//! Chat rooms: every topic `room:NAME` is one.
//!
//! A client joins with `{"user": "alice"}`. The join is refused with a `reason` where the name isn't 1 to 32 characters,
//! or the room's name has anything in it but letters, digits, `-` and `_`.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `new_msg {"body": ".."}` | says something to everyone in the room | `ok {"id": ".."}` |
//! | `typing {"typing": true}` | tells the others that this user is typing, or no longer is | none |
//!
//! | the client gets | when |
//! | --- | --- |
//! | `new_msg {"id", "user", "body", "at"}` | someone, perhaps itself, said something; `at` in milliseconds since 1970 |
//! | `typing {"user", "typing"}` | someone else began or ceased to type |
//! | `presence_state`, `presence_diff` | it joined, someone came or went: who is here, by name, each with `online_at` |

use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

const LONGEST_NAME: usize = 32;
const LONGEST_BODY: usize = 2000;

/// One user in one room.
#[derive(Serialize, Deserialize)]
struct Chat {
    user: String,
}

impl Channel for Chat {
    type Room = ();

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        check_room(socket.topic())?;
        let user = user_name(params.field("user")?)?;
        socket.push_presence();
        socket.track(&user, json!({ "online_at": now_ms() }));
        Ok(Chat { user })
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "new_msg" => self.say(socket, payload.field("body")?),
            "typing" => self.is_typing(socket, payload.field("typing")?),
            _ => unknown_event(event),
        }
    }
}

impl Chat {
    fn say(&self, socket: &mut Socket, body: String) -> Handled {
        if body.trim().is_empty() {
            return because("a message needs some text");
        }
        if body.chars().count() > LONGEST_BODY {
            return because(format!("a message has at most {LONGEST_BODY} characters"));
        }
        let id = unique_id();
        socket.broadcast("new_msg", json!({ "id": id, "user": self.user, "body": body, "at": now_ms() }));
        reply(json!({ "id": id }))
    }

    fn is_typing(&self, socket: &mut Socket, typing: bool) -> Handled {
        socket.broadcast_from("typing", json!({ "user": self.user, "typing": typing }));
        no_reply()
    }
}

fn check_room(topic: &str) -> Result<(), Error> {
    let name = topic.strip_prefix("room:").unwrap_or_default();
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c)) {
        return because("a room's name has letters, digits, - and _");
    }
    Ok(())
}

fn user_name(wanted: String) -> Result<String, Error> {
    let name = wanted.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return because(format!("a name has 1 to {LONGEST_NAME} characters"));
    }
    Ok(name.to_owned())
}

/// The client's mistake, with its reason: a join is refused with it, a message answered by it.
fn because<T>(reason: impl Into<String>) -> Result<T, Error> {
    refuse(json!({ "reason": reason.into() }))
}

channels! { "room:*" => Chat }
