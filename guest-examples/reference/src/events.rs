//! The events of the reference channel.
//!
//! | event | result |
//! | --- | --- |
//! | `echo`, `echo_error`, `ack`, `noreply`, `status {"status"}` | that reply, or none |
//! | `shout`, `shout_ack`, `shout_from`, `secret` | that event to everyone (`shout_from`: to everyone else) |
//! | `push {"event", "payload"}`, `push_n {"n"}` | pushes |
//! | `async` | the reply, 20 ms later; a fault if the client sent no ref |
//! | `sleep {"ms"}` | `ok {}`, after that time, because a plugin can't block |
//! | `double_reply` | two replies |
//! | `whoami`, `connect_info` | data about the socket |
//! | `bin_echo`, `bin_size`, `bin_push`, `bin_shout`, `want_bin {"bytes"}` | binary payloads in both directions |
//! | `crash`, `stop_abnormal`, `stop`, `stop_reply` | the end of the channel |
//! | `presence_update {..}`, `presence_untrack`, `presence_list` | presence |
//! | `broadcast_to {"topic", "event", "payload"}` | that event, to any topic |
//! | anything else | a fault |

use bennu_guest::prelude::*;

use crate::Reference;

impl Reference {
    pub(crate) fn on(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "echo" => reply(payload),
            "echo_error" => reply_error(payload),
            "ack" => ok(),
            "noreply" => no_reply(),
            "status" => reply_status(&payload.field::<String>("status")?, json!({})),
            "shout" | "shout_ack" | "shout_from" | "secret" => shout(socket, event, payload),
            "push" => {
                socket.push(&payload.field::<String>("event")?, payload.field::<Value>("payload")?);
                no_reply()
            }
            "push_n" => {
                let n: u64 = payload.field("n")?;
                (0..n).for_each(|i| socket.push("item", json!({ "i": i })));
                reply(json!({ "n": n }))
            }
            "async" | "sleep" => later(socket, event, &payload),
            "double_reply" => {
                let Some(to) = socket.reply_ref() else { return fail("there is no ref for two answers") };
                socket.reply_later(&to, Reply::ok(json!({ "n": 1 })));
                reply(payload)
            }
            "whoami" => reply(self.whoami(socket)?),
            "connect_info" => reply(socket.claims().field::<Value>("connect_info")?),
            "bin_echo" | "bin_size" | "bin_push" | "bin_shout" | "want_bin" => bytes(socket, event, payload),
            "crash" | "stop_abnormal" => fail("asked to"),
            "stop" => stop("normal"),
            "stop_reply" => stop_with_reply("normal", Reply::ok(payload)),
            "presence_update" | "presence_untrack" | "presence_list" => self.presence(socket, event, &payload),
            "broadcast_to" => {
                let (topic, event): (String, String) = (payload.field("topic")?, payload.field("event")?);
                socket.publish(&topic, &event, payload.field::<Value>("payload")?);
                ok()
            }
            _ => fail(format!("unknown event {event:?}")),
        }
    }

    /// A timer has fired: sends the reply.
    pub(crate) fn on_time(&mut self, socket: &mut Socket, message: &Message) -> Handled {
        let (to, response): (ReplyRef, Value) = message.payload.parse()?;
        socket.reply_later(&to, Reply::ok(response));
        no_reply()
    }

    fn whoami(&self, socket: &Socket) -> Result<Value, Error> {
        let headers: serde_json::Map<_, _> =
            socket.x_headers().into_iter().map(|(name, value)| (name, json!(value))).collect();
        Ok(json!({
            "user_id": self.user_id,
            "auth_token": socket.claims().field::<Option<String>>("auth_token")?,
            "socket_id": socket.socket_id(),
            "topic": socket.topic(),
            "join_ref": serde_json::from_str::<Value>(&socket.join_ref()).unwrap_or_default(),
            "transport": socket.transport(),
            "params": socket.connect_params().parse::<Value>()?,
            "x_headers": headers,
            "mounted": (socket.topic() == "exact").then_some("exact"),
        }))
    }

    fn presence(&mut self, socket: &mut Socket, event: &str, payload: &Payload) -> Handled {
        match (event, &mut self.presence) {
            ("presence_list", _) => return reply(socket.presences()),
            ("presence_update", Some((key, meta))) => {
                let mut merged: serde_json::Map<String, Value> = serde_json::from_str(meta).unwrap_or_default();
                merged.extend(payload.parse::<serde_json::Map<String, Value>>()?);
                *meta = Value::from(merged).to_string();
                socket.update_presence(key, serde_json::from_str::<Value>(meta).unwrap_or_default());
            }
            ("presence_untrack", Some((key, _))) => {
                socket.untrack(key);
                self.presence = None;
            }
            // In Phoenix, a second untrack is allowed too.
            _ => {}
        }
        ok()
    }
}

fn shout(socket: &mut Socket, event: &str, payload: Payload) -> Handled {
    match event {
        "shout_from" => socket.broadcast_from(event, payload),
        "shout_ack" => {
            socket.broadcast("shout", payload);
            return ok();
        }
        _ => socket.broadcast(event, payload),
    }
    no_reply()
}

fn later(socket: &mut Socket, event: &str, payload: &Payload) -> Handled {
    let Some(to) = socket.reply_ref() else { return fail("there is no ref for a later answer") };
    let (after, response) = match event {
        "async" => (20, payload.parse::<Value>()?),
        _ => (payload.field::<u64>("ms")?.max(10), json!({})),
    };
    socket.send_after(Duration::from_millis(after), event, json!([to, response]));
    no_reply()
}

fn bytes(socket: &mut Socket, event: &str, payload: Payload) -> Handled {
    match event {
        "bin_echo" => reply(Binary(payload.bytes()?.to_vec())),
        "bin_size" => reply(json!({ "size": payload.bytes()?.len() })),
        "want_bin" => reply(Binary(payload.field("bytes")?)),
        "bin_push" => {
            socket.push("bin", payload);
            no_reply()
        }
        _ => {
            socket.broadcast("bin", payload);
            no_reply()
        }
    }
}
