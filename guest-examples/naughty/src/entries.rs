//! Events about entries, in `unruly:*`, whose topics have them. In `naughty:*`, they are fault: failed.
//!
//! | event | result |
//! | --- | --- |
//! | `entry_put {"key", "value"}`, `entry_delete {"key"}` | that write. Also as topic messages |
//! | `entry_get {"key"}` | replies with the value, or `null`. Also as a topic message |
//! | `entries {"prefix"}` | replies with `[[KEY, VALUE], ..]`; further fields are `after`, `before`, `limit`, `backward`. Also as a topic message |
//! | `entries_put {"entries"}`, `entries_get {"keys"}` | several at once: `[[KEY, VALUE], ..]`; replies with the values |
//! | `entries_clear {"limit"}` | deletes up to that many entries, and replies `ok {"deleted": n}` |
//! | `entries_own {"key"}` | replies with the values that it reads after its own put, delete and put |
//! | `entry_then_fail {"key", "value"}` | writes, and is then fault: failed |
//! | `entry_then_refuse {"key", "value"}` | writes, and refuses: nothing is written |
//! | `entry_after_discard {"key", "value"}` | fault: failed |
//! | `entry_no_key`, `entry_long_key`, `entry_long_value`, `entries_many` (4,097 keys), `entries_much` (5 MB) | fault: oversize |
//! | `entries_get_many` (1,001 keys) | fault: oversize |

use std::ops::Bound;

use bennu_guest::prelude::*;

/// All entries of a topic.
const ALL: RoomMap<Value> = RoomMap::new("");

/// A map whose keys have a prefix.
const BALLAST: RoomMap<String> = RoomMap::new("ballast/");

/// The range that a client asks for.
#[derive(Deserialize)]
struct Wanted {
    prefix: String,
    after: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    backward: bool,
}

/// Handles the event if it is one of the above.
pub(crate) fn event(event: &str, payload: &Payload) -> Option<Handled> {
    Some(match event {
        "entries_put" => put_many(payload),
        "entries_get" => get_many(payload),
        "entries_clear" => clear(payload),
        "entries_own" => own(payload),
        "entry_read_then_fail" => get(payload).and_then(|_| fail("asked to fail after a read")),
        "entry_then_refuse" => put(payload).and_then(|_| refuse(json!({ "reason": "too late" }))),
        "entry_then_fail" => put(payload).and_then(|_| fail("asked to fail after a put")),
        _ => return message(event, payload).or_else(|| too_much(event)),
    })
}

/// Handles a message to a topic if it is one of the above.
pub(crate) fn message(event: &str, payload: &Payload) -> Option<Handled> {
    Some(match event {
        "entry_put" => put(payload),
        "entry_get" => get(payload),
        "entry_delete" => delete(payload),
        "entries" => list(payload),
        _ => return None,
    })
}

/// Sets an entry, in a callback that has none.
pub(crate) fn put_secret() {
    ALL.insert("secret", &json!(true));
}

/// Upgrades an entry to version 1: its value says which version it had, and the value of then.
pub(crate) fn upgrade(old: &OldEntry) -> UpgradedEntry {
    if old.key().starts_with(b"slow/") {
        let until = now_ms() + 20;
        while now_ms() < until {}
    }
    match old.key() {
        b"refused" => return fail("it refuses this entry"),
        b"trap" => panic!("asked to panic in upgrade_entry"),
        b"put" => put_secret(),
        _ => {}
    }
    ALL.upgraded(&json!({ "from": old.version(), "was": old.read::<Value>()? }))
}

fn put(payload: &Payload) -> Handled {
    ALL.insert(payload.field::<String>("key")?, &payload.field("value")?);
    ok()
}

/// Sets an entry to the number in a reply, and returns the reply.
pub(crate) fn put_number(counted: Answer, payload: &Payload) -> Handled {
    if let Answer::Reply(reply) = &counted {
        ALL.insert(payload.field::<String>("key")?, &reply.payload.field("count")?);
    }
    Ok(counted)
}

fn get(payload: &Payload) -> Handled {
    reply(ALL.get(payload.field::<String>("key")?)?)
}

fn delete(payload: &Payload) -> Handled {
    ALL.remove(payload.field::<String>("key")?);
    ok()
}

fn put_many(payload: &Payload) -> Handled {
    ALL.insert_many(payload.field::<Vec<(String, Value)>>("entries")?);
    ok()
}

fn get_many(payload: &Payload) -> Handled {
    reply(ALL.get_many(payload.field::<Vec<String>>("keys")?)?)
}

fn clear(payload: &Payload) -> Handled {
    reply(json!({ "deleted": ALL.clear(payload.field("limit")?) }))
}

fn list(payload: &Payload) -> Handled {
    let Wanted { prefix, after, before, limit, backward } = payload.parse()?;
    let start = after.as_deref().map_or(Bound::Included(&*prefix), Bound::Excluded);
    let end = before.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut entries = ALL.range((start, end)).limit(limit.unwrap_or(usize::MAX));
    if backward {
        entries = entries.backward();
    }
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    reply(entries.into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect::<Vec<_>>())
}

fn own(payload: &Payload) -> Handled {
    let key: String = payload.field("key")?;
    let read = || ALL.get(&key);
    let before = read()?;
    ALL.insert(&key, &json!(1));
    let put = read()?;
    ALL.remove(&key);
    let deleted = read()?;
    ALL.insert(&key, &json!(2));
    reply(json!([before, put, deleted, read()?]))
}

/// Asks for what no callback may ask for.
fn too_much(event: &str) -> Option<Handled> {
    match event {
        "entry_no_key" => ALL.insert("", &json!(1)),
        "entry_long_key" => ALL.insert("k".repeat(256), &json!(1)),
        "entry_long_value" => BALLAST.insert("k", &"x".repeat(1 << 20)),
        "entries_many" => ALL.insert_many((0..4097).map(|n| (format!("many/{n}"), json!(n)))),
        "entries_much" => (0..5).for_each(|n| BALLAST.insert(n.to_string(), &"x".repeat(1_000_000))),
        "entries_get_many" => drop(ALL.get_many((0..1001).map(|n| n.to_string()))),
        _ => return None,
    }
    Some(ok())
}
