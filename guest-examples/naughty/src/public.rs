//! Topics that publish the entries with the prefixes `p/` and `q/`: `public:*`.
//!
//! | event | result |
//! | --- | --- |
//! | `put {KEY: VALUE, ..}` | sets entries; null deletes one. Also as a topic message, and as the field `put` of a join |
//! | `put_then_fail {KEY: VALUE, ..}` | the same, and is then fault: failed |
//! | `follow {"prefix"}`, `unfollow {"prefix"}` | the same of the contract. A join may have a list of prefixes as `follow` |
//! | `follows {"prefix", "count"}` | follows that many prefixes: past 64, fault: oversize |
//! | `publish {"state"}` | publishes a state in a topic that publishes entries: fault: failed |
//! | `put_null`, `put_messagepack` | a published value that is null, or isn't JSON: fault: failed |
//! | `put_much` | published values of 3 MB: fault: oversize |

use bennu_guest::prelude::*;

/// All entries of a topic.
const ALL: RoomMap<Value> = RoomMap::published("");

/// The published entries in the wrong encoding.
const WRONG: RoomMap<String> = RoomMap::new("p/");

/// A member of `public:*`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Public;

/// Entries by their keys.
type Wanted = serde_json::Map<String, Value>;

impl Channel for Public {
    type Room = ();
    const ENTRIES: bool = true;
    const PUBLISHES: &'static [&'static str] = &["p/", "q/"];
    const LINGER: Option<Duration> = Some(Duration::from_millis(100));

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        let follow: Option<Vec<String>> = params.field("follow")?;
        follow.iter().flatten().for_each(|prefix| socket.follow(prefix));
        put(params.field::<Option<Wanted>>("put")?.unwrap_or_default());
        Ok(Public)
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "put" => put(payload.parse()?),
            "put_then_fail" => {
                put(payload.parse()?);
                return fail("asked to fail after a put");
            }
            "follow" => socket.follow(&payload.field::<String>("prefix")?),
            "unfollow" => socket.unfollow(&payload.field::<String>("prefix")?),
            "follows" => {
                let (prefix, count): (String, u32) = (payload.field("prefix")?, payload.field("count")?);
                (0..count).for_each(|number| socket.follow(&format!("{prefix}{number}")));
            }
            "publish" => socket.publish_state(payload.field::<Value>("state")?),
            "put_null" => ALL.insert("p/null", &Value::Null),
            "put_messagepack" => WRONG.insert("text", &"text".to_owned()),
            "put_much" => (0..3).for_each(|n| ALL.insert(format!("p/{n}"), &json!("x".repeat(1_000_000)))),
            _ => return unknown_event(event),
        }
        ok()
    }

    fn handle_message(_topic: &mut Topic, event: &str, payload: Payload) -> Handled {
        match event {
            "put" => put(payload.parse()?),
            _ => return unknown_event(event),
        }
        ok()
    }
}

fn put(wanted: Wanted) {
    for (key, value) in wanted {
        if value.is_null() { ALL.remove(key) } else { ALL.insert(key, &value) }
    }
}
