//! The books of a topic.

use bennu_guest::prelude::*;

/// The books. A value is text, so a book of 88 bytes is a text of 86.
const BOOKS: RoomMap<String> = RoomMap::new("book/");

/// The books to add.
#[derive(Deserialize)]
struct Wanted {
    from: u64,
    entries: u64,
    bytes: usize,
}

/// Handles the events of books.
pub(crate) fn event(event: &str, payload: Payload) -> Handled {
    match event {
        "fill" => fill(&payload.parse()?),
        "change" => change(payload.field("key")?),
        "read" => read(payload.field("key")?),
        "count" => count(),
        _ => unknown_event(event),
    }
}

/// With the prefix, a key has 12 bytes.
fn name(number: u64) -> String {
    format!("{number:07}")
}

/// A text whose encoding has this number of bytes. MessagePack writes 1 to 5 bytes before a text.
fn text(bytes: usize) -> String {
    let header = match bytes {
        0..=32 => 1,
        33..=257 => 2,
        258..=65_538 => 3,
        _ => 5,
    };
    "a".repeat(bytes.saturating_sub(header))
}

fn fill(wanted: &Wanted) -> Handled {
    let book = text(wanted.bytes);
    BOOKS.insert_many((wanted.from..).take(wanted.entries as usize).map(|number| (name(number), &book)));
    ok()
}

fn change(key: u64) -> Handled {
    BOOKS.update(name(key), |book| {
        let first = if book.starts_with('a') { "b" } else { "a" };
        if !book.is_empty() {
            book.replace_range(..1, first);
        }
    })?;
    ok()
}

fn read(key: u64) -> Handled {
    let book = BOOKS.get(name(key))?;
    reply(json!({ "bytes": book.map(|book| book.len()) }))
}

fn count() -> Handled {
    let mut entries = 0;
    for book in BOOKS.iter() {
        book?;
        entries += 1;
    }
    reply(json!({ "entries": entries }))
}
