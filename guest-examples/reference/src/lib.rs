//! The reference channel. The same channel in a running Phoenix made the recorded transcripts, so that tests can replay
//! them here.
//!
//! Topics: `room:*` and `exact`. Joins, by topic and payload:
//!
//! | topic | join |
//! | --- | --- |
//! | `room:empty*` | `ok {}` |
//! | `room:reject*` | refused, with the client's parameters |
//! | `room:joincrash*`, `room:badreturn*` | a fault |
//! | `room:slowjoin*` `{"ms"}` | `ok {"slept": ms}`, at once, because a plugin can't block |
//! | `room:binjoin*` | `ok`, with bytes |
//! | any other | `ok {"topic", "params"}`; refused for `{"refuse": true}` |
//!
//! On any other topic, `{"presence": KEY, "meta": {..}}` pushes who is online and tracks KEY. With `{"bye": true}`, the
//! channel sends a last event to the others and to itself when it ends. `events.rs` lists the events.

mod events;

use bennu_guest::prelude::*;

/// One member.
#[derive(Serialize, Deserialize)]
struct Reference {
    user_id: Option<String>,
    /// The key and the meta of its presence.
    presence: Option<(String, String)>,
    says_bye: bool,
}

impl Channel for Reference {
    type Room = ();

    const INTERCEPTS: &'static [&'static str] = &["secret"];

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        let mut me = Reference { user_id: socket.user(), presence: None, says_bye: false };
        let topic = socket.topic().to_owned();
        let is = |name: &str| topic.strip_prefix("room:").is_some_and(|rest| rest.starts_with(name));
        let sent = params.json().ok().filter(|text| text.trim_start().starts_with('{')).unwrap_or("{}").to_owned();
        if is("empty") {
        } else if is("reject") {
            return refuse(json!({ "reason": "unauthorized", "params": params.parse::<Value>().unwrap_or_default() }));
        } else if is("joincrash") || is("badreturn") {
            return fail("the join was asked to fail");
        } else if is("slowjoin") {
            socket.respond(json!({ "slept": params.field::<Option<u64>>("ms").ok().flatten() }));
        } else if is("binjoin") {
            socket.respond(Binary(vec![1, 2, 3]));
        } else if params.field::<Option<bool>>("refuse").ok().flatten() == Some(true) {
            return refuse(json!({ "reason": "refused" }));
        } else {
            // The client's parameters are returned unchanged, so that numbers keep their spelling.
            let topic = json!(topic);
            socket.respond(Payload::Json(format!("{{\"topic\":{topic},\"params\":{sent}}}")));
            me.greet(socket, &Payload::Json(sent))?;
        }
        Ok(me)
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        self.on(socket, event, payload)
    }

    fn handle_out(&self, _recipient: &Recipient, _event: &str, payload: &Payload) -> Decided {
        let mut secret: serde_json::Map<String, Value> = payload.parse()?;
        let to = secret.get("to").cloned().unwrap_or_default();
        if to != Value::Null && Some(to.as_str().unwrap_or_default()) != self.user_id.as_deref() {
            return Ok(Decision::Drop);
        }
        secret.insert("intercepted_for".into(), json!(self.user_id));
        Ok(Decision::replace(secret))
    }

    fn handle_info(&mut self, socket: &mut Socket, message: Message) -> Handled {
        self.on_time(socket, &message)
    }

    fn terminate(&mut self, socket: &mut Socket, ending: Ending) {
        if self.says_bye {
            let reason = json!({ "reason": as_phoenix(&ending) });
            socket.broadcast_from("bye", reason.clone());
            socket.push("bye_self", reason);
        }
    }
}

impl Reference {
    fn greet(&mut self, socket: &mut Socket, params: &Payload) -> Result<(), Error> {
        self.says_bye = params.field::<Option<bool>>("bye")?.unwrap_or_default();
        if let Some(key) = params.field::<Option<String>>("presence")? {
            let meta: Value = params.field::<Option<Value>>("meta")?.unwrap_or_else(|| json!({}));
            socket.push_presence();
            socket.track(&key, &meta);
            self.presence = Some((key, meta.to_string()));
        }
        Ok(())
    }
}

/// Returns a reason as Elixir prints it.
fn as_phoenix(ending: &Ending) -> String {
    match ending.cause.as_str() {
        "left" => "{:shutdown, :left}".into(),
        "closed" => "{:shutdown, :local_closed}".into(),
        "stopped" => format!(":{}", ending.detail),
        cause => format!("{cause} {}", ending.detail),
    }
}

channels! {
    "room:*" => Reference,
    "exact" => Reference,
}
