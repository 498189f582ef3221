//! Supabase Realtime's broadcast and presence, for its own clients (`@supabase/realtime-js`, Python's `realtime`): every
//! topic `realtime:NAME` is a channel of theirs.
//!
//! They speak version 1 of Phoenix's protocol, with a framing of their own inside the messages; that framing is what a
//! plugin is for. `realtime-js` must be told so by `vsn: "1.0.0"`, since its version 2 has binary frames that Phoenix
//! doesn't know either.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | a join with `config.presence.key`, `config.broadcast.self`, `config.broadcast.ack` | sets who it is, whether it hears itself, whether it is answered | `ok {}` |
//! | `broadcast {"type", "event", "payload"}` | sends the same to the others | `ok {}` where it asked for that |
//! | `presence {"event": "track", "payload"}` | it is online, with that meta | `ok {}` |
//! | `presence {"event": "untrack"}` | it is online no more | `ok {}` |
//! | `access_token {..}` | nothing: who may do what is for a gatekeeper to say | none |
//!
//! There are no changes of a database here: who asks for some is refused.

use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

/// One client in one channel.
#[derive(Serialize, Deserialize)]
struct Realtime {
    /// What it is online under.
    key: String,
    is_online: bool,
    hears_itself: bool,
    wants_answers: bool,
}

/// What a client joins with, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    broadcast: Broadcast,
    presence: Presence,
    postgres_changes: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Broadcast {
    #[serde(rename = "self")]
    to_self: bool,
    ack: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Presence {
    key: String,
}

impl Channel for Realtime {
    type Room = ();

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        let Config { broadcast, presence, postgres_changes } = params.field("config")?;
        if !postgres_changes.is_empty() {
            return refuse(json!({ "reason": "there is no database here" }));
        }
        socket.push_presence();
        let key = if presence.key.is_empty() { unique_id() } else { presence.key };
        Ok(Self { key, is_online: false, hears_itself: broadcast.to_self, wants_answers: broadcast.ack })
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "broadcast" if self.hears_itself => socket.broadcast(event, payload),
            "broadcast" => socket.broadcast_from(event, payload),
            "presence" => return self.presence(socket, &payload),
            "access_token" => return no_reply(),
            _ => return unknown_event(event),
        }
        if self.wants_answers { ok() } else { no_reply() }
    }
}

impl Realtime {
    fn presence(&mut self, socket: &mut Socket, payload: &Payload) -> Handled {
        match payload.field::<String>("event")?.as_str() {
            "track" if self.is_online => socket.update_presence(&self.key, payload.field::<Value>("payload")?),
            "track" => socket.track(&self.key, payload.field::<Value>("payload")?),
            "untrack" => socket.untrack(&self.key),
            other => return unknown_event(other),
        }
        self.is_online = payload.field::<String>("event")? == "track";
        ok()
    }
}

channels! { "realtime:*" => Realtime }
