//! A plugin for tests of a running host. It uses everything that a plugin may use, and breaks many rules.
//!
//! Topics: `naughty:*`; `unruly:*`, which has a room; `durable:*`, the same with a durable room; `public:*`, which publishes
//! entries; `lasting:*`, which has a durable room with entries only; and `forgiving:*`, whose members stay after a fault.
//! Everybody may join. The topics `naughty:join_panic`, `naughty:join_fail`, `naughty:join_loop` and `naughty:join_refuse` do
//! what their names say. In `naughty:terminate_panic`, `terminate` panics. In every other topic, `terminate` sends
//! `gone {"member", "cause", "detail"}` to the other members, and logs the same. In `naughty:last_words`, `terminate`
//! also sets a timer, and pushes `last_words {"timer"}` with its number to the member's own client. A client may join
//! with `{"mood": ".."}`: the mood decides about the intercepted event `secret`.
//!
//! - [`faults`]: events that end the member
//! - [`effects`]: events with valid effects
//! - [`elsewhere`]: events that affect more than the member
//! - [`storage`]: the store
//! - [`timed`]: schedules, and what the host tells a topic
//! - [`entries`]: the entries of topics
//! - [`http`]: requests by HTTP
//! - [`moods`]: `handle_out` for the event `secret`
//! - [`unruly`]: topics with a room, `unruly:*`
//! - [`public`]: topics that publish entries, `public:*`
//! - [`forgiving`]: topics whose members stay after a fault, `forgiving:*`
//!
//! With the feature `second`, the build writes version 1 of the entries of `unruly:*`. It upgrades a value of
//! another version to `{"from": VERSION, "was": VALUE}`. It refuses the key `refused`, and breaks rules for `trap` and `put`.
//!
//! The neighbors of a member that fails use `echo`, `count` and `shout`.

use bennu_guest::prelude::*;

mod effects;
mod elsewhere;
mod entries;
mod faults;
mod forgiving;
mod http;
mod lasting;
mod moods;
mod public;
mod storage;
#[cfg(test)]
mod tests;
mod timed;
mod unruly;

use forgiving::Forgiving;
use lasting::Lasting;
use moods::Mood;
use public::Public;
use unruly::Unruly;

/// A member of `naughty:*`.
#[derive(Serialize, Deserialize)]
struct Naughty {
    mood: Mood,
    /// The number of counted events.
    count: u64,
    /// The timer that the event `cancel` cancels.
    timer: Option<TimerId>,
    /// Data that makes the state large.
    ballast: String,
}

impl Channel for Naughty {
    type Room = ();
    const INTERCEPTS: &'static [&'static str] = &["secret"];

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        faults::on_join(socket)?;
        let mood: Option<Mood> = params.field("mood")?;
        if let Some(request) = params.field::<Option<Value>>("http_get")? {
            socket.push("asked", http::get(&request.into_payload())?);
        }
        socket.respond(json!({ "member": socket.member_id() }));
        Ok(Naughty { mood: mood.unwrap_or_default(), count: 0, timer: None, ballast: String::new() })
    }

    fn handle_in(&mut self, socket: &mut Socket, event: &str, payload: Payload) -> Handled {
        match event {
            "echo" => reply(payload),
            "count" => {
                self.count += 1;
                reply(json!({ "count": self.count }))
            }
            "shout" => {
                socket.broadcast("shout", payload.object()?);
                ok()
            }
            "give_answer" => timed::give_answer(&payload, |to, reply| socket.answer(to, reply)),
            _ => {
                let handled = self.effect(socket, event, &payload);
                let handled = handled.or_else(|| self.elsewhere(socket, event, &payload));
                let handled = handled.or_else(|| self.storage(event, &payload));
                let handled = handled.or_else(|| self.http(socket, event, &payload));
                let handled = handled.or_else(|| entries::event(event, &payload));
                let handled = handled.or_else(|| timed::event(socket.topic(), event, &payload));
                let handled = handled.or_else(|| self.fault(socket, event, &payload));
                handled.unwrap_or_else(|| unknown_event(event))
            }
        }
    }

    fn handle_info(&mut self, socket: &mut Socket, message: Message) -> Handled {
        if self.heard(socket, &message) {
            return no_reply();
        }
        if let Some(answer) = bennu_guest::http::answer(&message) {
            socket.push(&message.event, http::shown(answer));
            return no_reply();
        }
        self.message(socket, &message)
    }

    fn handle_message(topic: &mut Topic, event: &str, payload: Payload) -> Handled {
        let handled = timed::message(topic, event, &payload).or_else(|| http::message(topic, event, &payload));
        if let Some(handled) = handled {
            return handled;
        }
        elsewhere::on_message(topic, event, payload)
    }

    fn handle_topic_info(topic: &mut Topic, message: Message) -> Told {
        if message.source == "http" { http::told(topic, &message) } else { timed::told(topic, message) }
    }

    fn handle_out(&self, recipient: &Recipient, _event: &str, payload: &Payload) -> Decided {
        self.mood.decide(recipient, payload)
    }

    fn terminate(&mut self, socket: &mut Socket, ending: Ending) {
        assert!(socket.topic() != "naughty:terminate_panic", "asked to panic in terminate");
        let member = socket.member_id();
        log::info!("gone: {} {}", ending.cause, ending.detail);
        if socket.topic() == "naughty:last_words" {
            let timer = socket.send_after(Duration::from_secs(1), "timer", json!({}));
            socket.push("last_words", json!({ "timer": timer }));
        }
        socket.broadcast("gone", json!({ "member": member, "cause": ending.cause, "detail": ending.detail }));
    }
}

/// The version of the entries that this build writes.
const ENTRIES_VERSION: u32 = if cfg!(feature = "second") { 1 } else { 0 };

channels! {
    "naughty:*" => Naughty,
    "unruly:*" => Unruly<ENTRIES_VERSION, false>,
    "durable:*" => Unruly<ENTRIES_VERSION, true>,
    "public:*" => Public,
    "forgiving:*" => Forgiving,
    "lasting:*" => Lasting,
}

/// Adds all of these topics to a stage.
#[cfg(test)]
pub(crate) fn on_stage(stage: testing::Stage) -> testing::Stage {
    stage
        .channel::<Naughty>("naughty:*")
        .channel::<Unruly<0, false>>("unruly:*")
        .channel::<Public>("public:*")
        .channel::<Forgiving>("forgiving:*")
        .channel::<Lasting>("lasting:*")
}

/// Reloads the build that writes this version of entries, on a stage.
#[cfg(test)]
pub(crate) fn reload<const VERSION: u32>(stage: &testing::Stage) {
    stage.reload::<Unruly<VERSION, false>>("unruly:*");
}
