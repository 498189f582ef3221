//! The notes of a topic: published entries, which the members get.

use std::collections::BTreeMap;

use bennu_guest::prelude::*;

/// The notes. A value is JSON.
const NOTES: RoomMap<Value> = RoomMap::published("note/");

/// A member of `notes:*`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Notes;

/// The notes to add.
#[derive(Deserialize)]
struct Wanted {
    from: u64,
    entries: u64,
    bytes: usize,
}

impl Channel for Notes {
    type Room = ();
    const ENTRIES: bool = true;
    const PUBLISHES: &'static [&'static str] = &["note/"];

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        let follow: Option<Vec<String>> = params.field("follow")?;
        follow.iter().flatten().for_each(|prefix| socket.follow(prefix));
        Ok(Notes)
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "put" => put(payload.parse()?),
            "fill" => fill(&payload.parse()?),
            "change" => change(payload.field("key")?)?,
            "noise" => socket.broadcast("noise", json!({ "text": "a".repeat(payload.field("bytes")?) })),
            "point" => socket.broadcast_droppable(&payload.field::<String>("key")?, "point", payload),
            "follow" => socket.follow(&payload.field::<String>("prefix")?),
            "unfollow" => socket.unfollow(&payload.field::<String>("prefix")?),
            _ => return unknown_event(event),
        }
        ok()
    }
}

/// Sets notes. Null removes one.
fn put(notes: BTreeMap<String, Value>) {
    for (name, note) in notes {
        if note.is_null() { NOTES.remove(name) } else { NOTES.insert(name, &note) }
    }
}

/// With the prefix, a key has 12 bytes.
fn name(number: u64) -> String {
    format!("{number:07}")
}

/// Adds texts. The JSON of a text has two bytes more.
fn fill(wanted: &Wanted) {
    let note = json!("a".repeat(wanted.bytes.saturating_sub(2)));
    NOTES.insert_many((wanted.from..).take(wanted.entries as usize).map(|number| (name(number), &note)));
}

/// Changes the first letter of a text.
fn change(key: u64) -> Result<(), Error> {
    NOTES.update(name(key), |note| {
        let text = note.as_str().unwrap_or_default();
        let first = if text.starts_with('a') { "b" } else { "a" };
        *note = json!(format!("{first}{}", text.get(1..).unwrap_or_default()));
    })
}
