//! Topics with a durable room: books, and marks, which change the room, entries and the plugin's store together.

use bennu_guest::prelude::*;

use super::books;

/// The numbers of the last marks.
const MARKS: RoomMap<u64> = RoomMap::new("mark/");

/// So many marks are kept.
const KEPT: u64 = 50;

/// A member of `vault:*`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Vault;

/// The room of `vault:*`.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Room {
    marks: u64,
}

impl Channel for Vault {
    type Room = Room;
    const DURABLE: bool = true;
    const ENTRIES: bool = true;

    fn join(_socket: &mut Socket<Room>, _params: Payload) -> Join<Self> {
        Ok(Vault)
    }

    fn handle_in(&mut self, socket: &mut Socket<Room>, event: &str, payload: Payload) -> Handled {
        match event {
            "mark" => {
                let marks = mark(socket.room_mut());
                store::put(own_key(socket.topic()), marks);
                reply(json!({ "marks": marks }))
            }
            "audit" => audit(socket.room(), socket.topic()),
            "start" => {
                socket.tick(Duration::from_millis(payload.field("ms")?));
                ok()
            }
            "stop" => {
                socket.tick(Duration::ZERO);
                ok()
            }
            _ => books::event(event, payload),
        }
    }

    fn handle_tick(topic: &mut Topic<Room>, _tick: &Tick) -> Ticked {
        mark(topic.room_mut());
        Ok(())
    }
}

fn own_key(topic: &str) -> String {
    format!("marks/{topic}")
}

/// Adds a mark, and removes an old one. Returns the number of all marks so far.
fn mark(room: &mut Room) -> u64 {
    room.marks += 1;
    MARKS.insert(name(room.marks), &room.marks);
    if room.marks > KEPT {
        MARKS.remove(name(room.marks - KEPT));
    }
    room.marks
}

fn name(mark: u64) -> String {
    format!("{mark:08}")
}

fn audit(room: &Room, topic: &str) -> Handled {
    let marks = MARKS.iter().map(|mark| Ok(mark?.1)).collect::<Result<Vec<u64>, Error>>()?;
    let first = (room.marks + 1).saturating_sub(KEPT).max(1);
    let is_whole = marks.into_iter().eq(first..=room.marks);
    let own = store::get::<u64>(own_key(topic))?;
    reply(json!({ "marks": room.marks, "is_whole": is_whole, "own": own.unwrap_or_default() }))
}
