//! A sum that all members of a topic share, and marks on a board. Each topic `count:NAME` has its own.
//!
//! A client joins with `{}`, or with `{"tick": MS}` to set the topic's tick period. Everybody may join.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `add {"n": 2}` | adds to the sum | `ok {"sum": 5}` |
//! | `mark {"name": "a", "at": [1, 2]}` | puts a mark on the board | `ok {"marks": 1}` |
//! | `get` | | `ok {"sum": 5}`: the room, with its `marks` if there are some |
//! | `sum` | | `ok {"sum": 5}` |
//! | `mine` | | `ok {"added": 2}`: the sum of this member's additions |
//! | `members` | | `ok {"members": 1}` |
//! | `save` | puts the sum into the store | `ok {"sum": 5}` |
//! | `load` | gets the sum from the store | `ok {"sum": 5}`, or `error` if no sum was saved |
//!
//! | the client gets | when |
//! | --- | --- |
//! | `sum {"sum": 5}` | a member, perhaps itself, has changed the sum |
//! | `beat {"number": 1, "missed": 0, "sum": 5}` | each tick of the topic |

use std::collections::BTreeMap;

use bennu_guest::prelude::*;

#[cfg(any(test, feature = "second"))]
mod second;
#[cfg(test)]
mod tests;

/// A member, with the sum of its additions.
#[derive(Serialize, Deserialize)]
struct Counter {
    added: i64,
}

/// The state that all members share.
#[derive(Default, Serialize, Deserialize)]
struct Room {
    sum: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    marks: BTreeMap<String, [f32; 2]>,
}

impl Channel for Counter {
    type Room = Room;
    const DURABLE: bool = cfg!(feature = "durable");
    const ASSIGNS_VERSION: u32 = 1;
    const ROOM_VERSION: u32 = 1;

    fn join(socket: &mut Socket<Room>, params: Payload) -> Join<Self> {
        if let Some(ms) = params.field("tick")? {
            socket.tick(Duration::from_millis(ms));
        }
        Ok(Counter { added: 0 })
    }

    fn handle_in(&mut self, socket: &mut Socket<Room>, event: &str, payload: Payload) -> Handled {
        match event {
            "add" if cfg!(feature = "faulty") => fail("this build can't add"),
            "add" => {
                let n: i64 = payload.field("n")?;
                self.added = self.added.saturating_add(n);
                let sum = socket.room().sum.saturating_add(n);
                set(socket, sum)
            }
            "mark" => {
                let marks = &mut socket.room_mut().marks;
                marks.insert(payload.field("name")?, payload.field("at")?);
                reply(json!({ "marks": marks.len() }))
            }
            "get" => reply(socket.room()),
            "sum" => reply(json!({ "sum": socket.room().sum })),
            "mine" => reply(self),
            "members" => reply(json!({ "members": topics::count(socket.topic()) })),
            "save" => {
                store::put(socket.topic(), socket.room().sum);
                reply(socket.room())
            }
            "load" => match store::get(socket.topic())? {
                Some(sum) => set(socket, sum),
                None => reply_error(json!({ "reason": "nothing was saved" })),
            },
            _ => unknown_event(event),
        }
    }

    fn handle_tick(topic: &mut Topic<Room>, tick: &Tick) -> Ticked {
        let sum = topic.room().sum;
        topic.broadcast("beat", json!({ "number": tick.number, "missed": tick.missed, "sum": sum }));
        Ok(())
    }
}

fn set(socket: &mut Socket<Room>, sum: i64) -> Handled {
    socket.room_mut().sum = sum;
    socket.broadcast("sum", json!({ "sum": sum }));
    reply(json!({ "sum": sum }))
}

#[cfg(not(feature = "second"))]
channels! { "count:*" => Counter }
#[cfg(feature = "second")]
channels! { "count:*" => second::Counter }
