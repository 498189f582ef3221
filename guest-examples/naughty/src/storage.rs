//! Events about the store.
//!
//! | event | result |
//! | --- | --- |
//! | `store_put {"key", "value"}`, `store_delete {"key"}` | that write; the topic message `put` is the same as `store_put` |
//! | `store_put_expiring {"key", "value", "ms"}` | that write, for a time; replies with the value that a read of it returns |
//! | `store_get {"key"}` | replies with the value, or `null` |
//! | `store_scan {"prefix"}` | replies with `[[KEY, VALUE], ..]`; further fields are `after`, `before`, `limit`, `backward` |
//! | `store_count {"key"}` | adds one to the value, and replies `ok {"count": n}`; with `ms`, waits before it writes |
//! | `store_own {"key"}` | replies with the values that it reads after its own put, delete and put |
//! | `store_then_fail {"key"}` | writes, and is then fault: failed |
//! | `store_no_key`, `store_long_key`, `store_long_value`, `store_many` (1,025 keys), `store_much` (5 MB) | fault: oversize |
//! | `store_forever` | fault: deadline |

use std::hint::black_box;

use bennu_guest::prelude::*;

use super::Naughty;

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

impl Naughty {
    /// Handles the event if it is one of the above.
    pub(crate) fn storage(&self, event: &str, payload: &Payload) -> Option<Handled> {
        Some(match event {
            "store_put" => put(payload),
            "store_put_expiring" => put_expiring(payload),
            "store_get" => get(payload),
            "store_delete" => delete(payload),
            "store_scan" => scan(payload),
            "store_count" => count(payload),
            "store_own" => own(payload),
            "store_then_fail" => put(payload).and_then(|_| fail("asked to fail after a put")),
            _ => return too_much(event),
        })
    }
}

/// Stores the value that was sent.
pub(crate) fn put(payload: &Payload) -> Handled {
    store::put(payload.field::<String>("key")?, payload.field::<Option<Value>>("value")?);
    ok()
}

fn put_expiring(payload: &Payload) -> Handled {
    let key: String = payload.field("key")?;
    let (value, ms): (Value, u64) = (payload.field("value")?, payload.field("ms")?);
    store::put_expiring(&key, value, Duration::from_millis(ms));
    reply(store::get::<Value>(&key)?)
}

fn get(payload: &Payload) -> Handled {
    reply(store::get::<Value>(payload.field::<String>("key")?)?)
}

fn delete(payload: &Payload) -> Handled {
    store::delete(payload.field::<String>("key")?);
    ok()
}

fn scan(payload: &Payload) -> Handled {
    let Wanted { prefix, after, before, limit, backward } = payload.parse()?;
    let mut scan = store::scan(&prefix);
    if let Some(after) = after {
        scan = scan.after(after);
    }
    if let Some(before) = before {
        scan = scan.before(before);
    }
    if let Some(limit) = limit {
        scan = scan.limit(limit);
    }
    if backward {
        scan = scan.backward();
    }
    let pair = |entry: store::Entry| Ok(json!([entry.name(""), entry.read::<Value>()?]));
    reply(scan.into_iter().map(pair).collect::<Result<Vec<_>, Error>>()?)
}

/// Adds one to the value of a key.
pub(crate) fn count(payload: &Payload) -> Handled {
    let key: String = payload.field("key")?;
    let count = store::get::<u64>(&key)?.unwrap_or_default() + 1;
    let until = now_ms() + payload.field::<Option<u64>>("ms")?.unwrap_or_default();
    while now_ms() < until {}
    store::put(&key, count);
    reply(json!({ "count": count }))
}

fn own(payload: &Payload) -> Handled {
    let key: String = payload.field("key")?;
    let read = || store::get::<u64>(&key);
    let before = read()?;
    store::put(&key, 1);
    let put = read()?;
    store::delete(&key);
    let deleted = read()?;
    store::put(&key, 2);
    reply(json!([before, put, deleted, read()?]))
}

/// Asks for writes that no callback may ask for.
fn too_much(event: &str) -> Option<Handled> {
    match event {
        "store_no_key" => store::put("", 1),
        "store_long_key" => store::put("k".repeat(1025), 1),
        "store_long_value" => store::put_bytes("k", vec![0; (1 << 20) + 1]),
        "store_many" => (0..1025).for_each(|n| store::put(format!("many:{n}"), n)),
        "store_much" => (0..5).for_each(|n| store::put_bytes(format!("much:{n}"), vec![0; 1_000_000])),
        "store_forever" => loop {
            black_box(store::scan("").limit(usize::MAX).into_iter().count());
        },
        _ => return None,
    }
    Some(ok())
}
