//! Does everything that a plugin may do, and much that it may not: the plugin of the tests from outside.
//!
//! Topics: `naughty:*`, `unruly:*`, which have a room, and `forgiving:*`, whose members outlive their faults. Anyone may join,
//! but for those whose name says what happens then: `naughty:join_panic`, `naughty:join_fail`, `naughty:join_loop` and
//! `naughty:join_refuse`. In `naughty:terminate_panic` it panics in `terminate`; elsewhere the others get
//! `gone {"member", "cause", "detail"}`, and the log has the same. In `naughty:last_words` the member's own client is pushed
//! `last_words {}` in `terminate`. A client may
//! join with `{"mood": ".."}`, which decides what becomes of the intercepted event `secret` when it is about to reach it.
//!
//! - [`faults`]: events that end the member
//! - [`effects`]: events that ask for something proper
//! - [`elsewhere`]: those that reach beyond the member
//! - [`storage`]: what is stored
//! - [`moods`]: `secret`, on its way to each member
//! - [`unruly`]: topics with a room, `unruly:*`
//! - [`forgiving`]: topics whose members outlive their faults, `forgiving:*`
//!
//! The neighbours of a member that fails use `echo`, `count` and `shout`.

use bennu_guest::prelude::*;

mod effects;
mod elsewhere;
mod faults;
mod forgiving;
mod moods;
mod storage;
#[cfg(test)]
mod tests;
mod unruly;

use forgiving::Forgiving;
use moods::Mood;
use unruly::Unruly;

/// A member, naughty or not.
#[derive(Serialize, Deserialize)]
struct Naughty {
    mood: Mood,
    /// How many events it counted.
    count: u64,
    /// The timer that `cancel` cancels.
    timer: Option<TimerId>,
    /// What makes the state large.
    ballast: String,
}

impl Channel for Naughty {
    type Room = ();
    const INTERCEPTS: &'static [&'static str] = &["secret"];

    fn join(socket: &mut Socket, params: Payload) -> Join<Self> {
        faults::on_join(socket)?;
        let mood: Option<Mood> = params.field("mood")?;
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
            _ => {
                let handled = self.effect(socket, event, &payload);
                let handled = handled.or_else(|| self.elsewhere(socket, event, &payload));
                let handled = handled.or_else(|| self.storage(event, &payload));
                let handled = handled.or_else(|| self.fault(socket, event, &payload));
                handled.unwrap_or_else(|| unknown_event(event))
            }
        }
    }

    fn handle_info(&mut self, socket: &mut Socket, message: Message) -> Handled {
        if self.heard(socket, &message) {
            return no_reply();
        }
        self.message(socket, &message)
    }

    fn handle_message(topic: &mut Topic, event: &str, payload: Payload) -> Handled {
        elsewhere::on_message(topic, event, payload)
    }

    fn handle_out(&self, recipient: &Recipient, _event: &str, payload: &Payload) -> Decided {
        self.mood.decide(recipient, payload)
    }

    fn terminate(&mut self, socket: &mut Socket, ending: Ending) {
        assert!(socket.topic() != "naughty:terminate_panic", "asked to panic in terminate");
        let member = socket.member_id();
        log::info!("gone: {} {}", ending.cause, ending.detail);
        if socket.topic() == "naughty:last_words" {
            socket.push("last_words", json!({}));
        }
        socket.broadcast("gone", json!({ "member": member, "cause": ending.cause, "detail": ending.detail }));
    }
}

channels! {
    "naughty:*" => Naughty,
    "unruly:*" => Unruly,
    "forgiving:*" => Forgiving,
}

/// A stage with all of these topics.
#[cfg(test)]
pub(crate) fn on_stage(stage: testing::Stage) -> testing::Stage {
    stage.channel::<Naughty>("naughty:*").channel::<Unruly>("unruly:*").channel::<Forgiving>("forgiving:*")
}
