//! Topics whose members stay after a fault: `forgiving:*`. Everybody may join.
//!
//! | event | result |
//! | --- | --- |
//! | `count` | counts, and replies `ok {"count": n}` |
//! | `count_and_fail` | fault: failed; the count stays as it was |
//! | `self_fail` | sends a message to itself, whose handling is fault: failed |
//! | `secret {"for"}` | that event, to everyone, except members whose `handle_out` fails |
//!
//! A client may join with `{"fails_out": true}`: its `handle_out` fails.

use bennu_guest::prelude::*;

/// A member of `forgiving:*`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Forgiving {
    count: u32,
    /// Whether its `handle_out` fails.
    fails_out: bool,
}

impl Channel for Forgiving {
    type Room = ();
    const ON_FAULT: OnFault = OnFault::Keep;
    const INTERCEPTS: &'static [&'static str] = &["secret"];

    fn join(_socket: &mut Socket, params: Payload) -> Join<Self> {
        Ok(Forgiving { count: 0, fails_out: params.field::<Option<bool>>("fails_out")?.unwrap_or_default() })
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "count" | "count_and_fail" => self.count += 1,
            "self_fail" => socket.send_self("fail", json!({})),
            "secret" => socket.broadcast("secret", payload.object()?),
            _ => return unknown_event(event),
        }
        if event == "count_and_fail" {
            socket.broadcast("counted", json!({}));
            return fail("asked to fail after it counted");
        }
        reply(json!({ "count": self.count }))
    }

    fn handle_info(&mut self, _socket: &mut Socket, _message: Message) -> Handled {
        self.count += 1;
        fail("asked to fail in handle_info")
    }

    fn handle_out(&self, _recipient: &Recipient, _event: &str, _payload: &Payload) -> Decided {
        if self.fails_out { fail("asked to fail in handle_out") } else { Ok(Decision::Pass) }
    }
}
