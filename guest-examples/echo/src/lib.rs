//! Returns each payload unchanged: for benchmarks, and for tests that reload a plugin while members are joined.
//!
//! Topics: `echo:*`, `bench:*` and `passed:*`. Everybody may join. In `passed:*` each `shout` goes through
//! `handle_out`, which lets it pass. So the cost of `handle_out` can be measured.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | `echo ..` | | `ok`, with the same payload |
//! | `shout {..}` | sends `shout {..}` to everyone | none |
//! | `whisper {..}` | sends `whisper {..}` to everyone else | none |
//! | `count` | counts, in the member's state | `ok {"count": 1, "build": "1"}` |
//! | `version` | | `ok {"version": 1}` |
//! | `parse ..` | parses the payload, and encodes it again | `ok`, with the same payload |
//! | `nothing ..` | | none |

use bennu_guest::prelude::*;

/// The number of this build.
const BUILD: &str = if cfg!(feature = "second") { "2" } else { "1" };

#[derive(Serialize, Deserialize)]
struct Echo {
    count: u64,
}

impl Channel for Echo {
    type Room = ();

    fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
        Ok(Echo { count: 0 })
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "echo" => reply(payload),
            "shout" => {
                socket.broadcast("shout", payload.object()?);
                no_reply()
            }
            "whisper" => {
                socket.broadcast_from("whisper", payload.object()?);
                no_reply()
            }
            "count" => {
                self.count += 1;
                reply(json!({ "count": self.count, "build": BUILD }))
            }
            "parse" => reply(payload.parse::<Value>()?),
            "nothing" => no_reply(),
            "version" => reply(json!({ "version": BUILD.parse::<u64>().ok() })),
            _ => unknown_event(event),
        }
    }
}

/// A member whose `shout` goes through `handle_out`.
#[derive(Serialize, Deserialize)]
struct Passed(Echo);

impl Channel for Passed {
    type Room = ();

    const INTERCEPTS: &'static [&'static str] = &["shout"];

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        Echo::join(socket, params).map(Passed)
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        self.0.handle_in(socket, event, payload)
    }

    fn handle_out(&self, _recipient: &Recipient, _event: &str, _payload: &Payload) -> Decided {
        Ok(Decision::Pass)
    }
}

channels! {
    "bench:*" => Echo,
    "echo:*" => Echo,
    "passed:*" => Passed,
}

#[cfg(test)]
mod tests {
    use bennu_guest::testing::join;

    use super::*;

    #[test]
    fn a_payload_is_returned_unchanged() {
        let mut alice = join::<Echo>("echo:1", json!({})).unwrap();
        let spaced = Payload::Json("{ \"b\": 1,  \"a\": 2.0 }".into());
        assert_eq!(alice.push("echo", spaced.clone()).reply().payload, spaced);
        assert_eq!(alice.push("echo", Binary(vec![0, 255])).reply(), ("ok", Binary(vec![0, 255])));
    }

    #[test]
    fn a_payload_is_parsed_and_encoded_again() {
        let mut alice = join::<Echo>("echo:1", json!({})).unwrap();
        let spaced = Payload::Json("{ \"b\": [1, null],  \"a\": 2.5 }".into());
        assert_eq!(alice.push("parse", spaced).reply(), ("ok", json!({ "a": 2.5, "b": [1, null] })));
        assert_eq!(alice.push("nothing", json!({})).effects(), []);
    }

    #[test]
    fn events_go_to_everyone_or_everyone_else() {
        let mut alice = join::<Echo>("echo:1", json!({})).unwrap();
        assert_eq!(alice.push("shout", json!({ "a": 1 })).broadcasts(), [("shout", json!({ "a": 1 }))]);
        assert_eq!(alice.push("whisper", Binary(vec![1])).broadcasts_from(), [("whisper", Binary(vec![1]))]);
        let refused = ("error", json!({ "reason": "payload: expected an object" }));
        assert_eq!(alice.push("shout", json!([1])).reply(), refused);
    }

    #[test]
    fn handle_out_passes_a_shout() {
        let mut alice = join::<Passed>("passed:1", json!({})).unwrap();
        assert_eq!(alice.push("shout", json!({ "a": 1 })).broadcasts(), [("shout", json!({ "a": 1 }))]);
        assert_eq!(alice.handle_out("shout", json!({ "a": 1 })), Decision::Pass);
    }

    #[test]
    fn each_member_has_its_own_count() {
        let mut alice = join::<Echo>("echo:1", json!({})).unwrap();
        assert_eq!(alice.push("count", json!({})).reply(), ("ok", json!({ "count": 1, "build": "1" })));
        assert_eq!(alice.push("count", json!({})).reply(), ("ok", json!({ "count": 2, "build": "1" })));
        assert_eq!(alice.assigns().count, 2);
    }
}
