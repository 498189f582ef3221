//! The channel of the test of projects in Rust: everything that a host does for a channel, with a build number that the test changes.

use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

const BUILD: u32 = 1;

/// A member's state.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Member {
    user: String,
    sent: u32,
}

/// What the members of a topic share.
#[derive(Default, Serialize, Deserialize)]
struct Room {
    messages: u32,
}

impl Channel for Member {
    type Room = Room;

    fn join(socket: &mut Socket<Room>, params: Payload) -> Join<Self> {
        let user: String = params.field("user")?;
        let key = format!("visits/{user}");
        let visits = store::get::<u32>(&key)?.unwrap_or_default() + 1;
        store::put(&key, visits);
        socket.broadcast_from("joined", json!({ "user": user }));
        socket.push_presence();
        socket.track(&user, json!({ "build": BUILD }));
        socket.respond(json!({ "visits": visits }));
        Ok(Member { user, ..Member::default() })
    }

    fn handle_in(&mut self, socket: &mut Socket<Room>, event: &str, payload: Payload) -> Handled {
        match event {
            "new_msg" => {
                self.sent += 1;
                socket.room_mut().messages += 1;
                socket.broadcast("new_msg", json!({ "user": self.user, "payload": payload.parse::<Value>()? }));
                reply(json!({ "sent": self.sent, "messages": socket.room().messages, "build": BUILD }))
            }
            "remind" => {
                let after = Duration::from_millis(payload.field("ms")?);
                socket.send_after(after, "reminder", json!({ "sent": self.sent }));
                ok()
            }
            "refused" => {
                self.sent = 1000;
                refuse(json!({ "reason": "no" }))
            }
            "crash" => reply(second(&[])),
            "list" => {
                socket.push("list", json!([1]));
                ok()
            }
            _ => unknown_event(event),
        }
    }

    fn handle_info(&mut self, socket: &mut Socket<Room>, message: Message) -> Handled {
        socket.push(&message.event, json!({ "payload": message.payload.parse::<Value>()?, "build": BUILD }));
        no_reply()
    }
}

fn second(list: &[u32]) -> u32 {
    list[1]
}

channels! { "room:*" => Member }
