//! Broadcast and presence of Supabase Realtime, for its own clients (`@supabase/realtime-js`, Python's `realtime`).
//! Each topic `realtime:NAME` is one of their channels.
//!
//! These clients use version 1 of Phoenix's protocol, with a format of their own inside the messages. This plugin
//! handles that format. `realtime-js` needs the option `vsn: "1.0.0"`, because its version 2 has binary frames that
//! Phoenix doesn't know either.
//!
//! | the client sends | what it does | reply |
//! | --- | --- | --- |
//! | a join with `config.presence.key` | sets its presence key | `ok {}` |
//! | a join with `config.broadcast.self`, `config.broadcast.ack` | it gets its own broadcasts; they are acknowledged | `ok {}` |
//! | `broadcast {"type", "event", "payload"}` | sends the same to the others | `ok {}` with `ack` |
//! | `presence {"event": "track", "payload"}` | tracks the client, with that meta | `ok {}` |
//! | `presence {"event": "untrack"}` | ends its presence | `ok {}` |
//! | `access_token {..}` | nothing: a gatekeeper decides about permissions | none |
//!
//! There are no database changes here: a join that asks for them is refused.

use bennu_guest::prelude::*;

#[cfg(test)]
mod tests;

/// One client in one channel.
#[derive(Serialize, Deserialize)]
struct Realtime {
    /// The key of its presence.
    key: String,
    is_online: bool,
    hears_itself: bool,
    wants_answers: bool,
}

/// The parts of a join's parameters that this plugin uses.
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
