//! The record of what a callback asks for, held to the host's limits. What crosses one is refused in the host's words.

use std::time::Duration;

use serde::de::IgnoredAny;

use super::facts::Facts;
use super::{Effect, Fault, Sent};
use crate::bindings::bennu::channel::types::Outcome;
use crate::log::Level;
use crate::{Answer, Payload, Reply, ReplyRef, TimerId};

const NAME_BYTES: usize = 255;
const ASSIGNS_BYTES: usize = 16 << 10;
const ROOM_BYTES: usize = 1 << 20;
const EFFECTS: usize = 1024;
const EFFECT_BYTES: usize = 4 << 20;
const TIMERS: usize = 16;
const TIMER_SHORTEST: Duration = Duration::from_millis(10);
const LOG_LINES: usize = 256;

/// What one callback read and asked for.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) facts: Facts,
    /// Whether it is a member's callback: the others only read, and have no member to read about.
    is_member: bool,
    pub(super) effects: Vec<Effect>,
    pub(super) lines: Vec<(Level, String)>,
    /// Bytes of the effects and of the answer.
    bytes: usize,
    /// The member's timers that would be under way after what was asked so far.
    timers: Vec<u64>,
    pub(super) next_timer: u64,
}

impl Record {
    /// For a callback of a member with these timers.
    pub(super) fn of_member(facts: Facts, timers: Vec<u64>, next_timer: u64) -> Self {
        Self { is_member: true, timers, next_timer, ..Self::reading(facts) }
    }

    /// For a callback that only reads.
    pub(super) fn reading(facts: Facts) -> Self {
        let (effects, lines, timers) = (Vec::new(), Vec::new(), Vec::new());
        Self { facts, is_member: false, effects, lines, bytes: 0, timers, next_timer: 0 }
    }

    pub(super) fn member(&self) -> Result<&Facts, Fault> {
        if self.is_member {
            return Ok(&self.facts);
        }
        Err(Fault::failed("a member was asked about in a callback that has none"))
    }

    pub(super) fn log(&mut self, level: Level, line: &str) -> Result<(), Fault> {
        if self.lines.len() >= LOG_LINES {
            return Err(Fault::oversize(format!("a call logs at most {LOG_LINES} lines")));
        }
        self.lines.push((level, line.into()));
        Ok(())
    }

    /// An event to the client, to the topic, or to another topic: `effect` makes one of it.
    pub(super) fn send(&mut self, sent: Sent, effect: impl FnOnce(Sent) -> Effect) -> Result<(), Fault> {
        check_name("an event", &sent.event)?;
        check_object(&sent.payload).map_err(|why| Fault::failed(format!("event `{}`: {why}", sent.event)))?;
        let bytes = sent.event.len() + len(&sent.payload);
        self.add(bytes, effect(sent))
    }

    pub(super) fn publish(&mut self, topic: &str, sent: Sent) -> Result<(), Fault> {
        check_name("a topic", topic)?;
        self.count_bytes(topic.len())?;
        self.send(sent, |sent| Effect::Publish(topic.into(), sent))
    }

    pub(super) fn reply(&mut self, to: &str, reply: &Reply) -> Result<(), Fault> {
        if serde_json::from_str::<IgnoredAny>(to).is_err() || to.len() > NAME_BYTES {
            return Err(Fault::failed("a reply-ref is given back as it came with handle-in; this is none"));
        }
        self.check_reply(reply)?;
        self.add(to.len(), Effect::Reply(ReplyRef(to.into()), reply.clone()))
    }

    pub(super) fn send_self(&mut self, sent: Sent) -> Result<(), Fault> {
        let bytes = check_own(&sent)?;
        self.add(bytes, Effect::SendSelf(sent))
    }

    pub(super) fn send_after(&mut self, after: Duration, sent: Sent) -> Result<u64, Fault> {
        let bytes = check_own(&sent)?;
        if after < TIMER_SHORTEST {
            let shortest = TIMER_SHORTEST.as_millis();
            return Err(Fault::oversize(format!("a timer takes at least {shortest} ms; use send-self for now")));
        }
        if self.timers.len() >= TIMERS {
            return Err(Fault::oversize(format!("a member has at most {TIMERS} timers under way")));
        }
        let timer = self.next_timer;
        self.add(bytes, Effect::SendAfter(TimerId(timer), after, sent))?;
        self.timers.push(timer);
        self.next_timer += 1;
        Ok(timer)
    }

    pub(super) fn cancel(&mut self, timer: u64) -> Result<(), Fault> {
        self.timers.retain(|&under_way| under_way != timer);
        self.add(0, Effect::Cancel(TimerId(timer)))
    }

    /// Checks what a callback gave back.
    pub(super) fn check(&mut self, outcome: &Outcome) -> Result<(), Fault> {
        check_size("assigns", outcome.assigns.as_deref(), ASSIGNS_BYTES)?;
        check_size("room", outcome.room.as_deref(), ROOM_BYTES)?;
        match &outcome.answer {
            Answer::Reply(reply) => self.check_reply(reply),
            Answer::Stop(stop) => stop.reply.as_ref().map_or(Ok(()), |reply| self.check_reply(reply)),
            Answer::None => Ok(()),
        }
    }

    fn check_reply(&mut self, reply: &Reply) -> Result<(), Fault> {
        check_name("a status", &reply.status)?;
        check_value(&reply.payload).map_err(Fault::failed)?;
        self.count_bytes(len(&reply.payload))
    }

    fn add(&mut self, bytes: usize, effect: Effect) -> Result<(), Fault> {
        if !self.is_member {
            return Err(Fault::failed("an effect was asked for in a callback that only reads"));
        }
        if self.effects.len() >= EFFECTS {
            return Err(Fault::oversize(format!("a call asks for at most {EFFECTS} effects")));
        }
        self.count_bytes(bytes)?;
        self.effects.push(effect);
        Ok(())
    }

    fn count_bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes += bytes;
        check_bytes("effects and answer", self.bytes, EFFECT_BYTES)
    }
}

/// Checks that a JSON payload is an object.
pub(super) fn check_object(payload: &Payload) -> Result<(), String> {
    check_value(payload)?;
    match payload {
        Payload::Json(text) if !text.trim_ascii_start().starts_with('{') => {
            Err("the payload of a push or broadcast must be a JSON object or binary".into())
        }
        _ => Ok(()),
    }
}

fn check_value(payload: &Payload) -> Result<(), String> {
    match payload {
        Payload::Binary(_) => Ok(()),
        Payload::Json(text) => serde_json::from_str::<IgnoredAny>(text)
            .map(|_| ())
            .map_err(|error| format!("the payload is not one JSON value: {error}")),
    }
}

/// Checks a message of a member to itself, whose payload may be any JSON value. Gives its bytes.
fn check_own(sent: &Sent) -> Result<usize, Fault> {
    check_name("an event", &sent.event)?;
    check_value(&sent.payload).map_err(Fault::failed)?;
    Ok(sent.event.len() + len(&sent.payload))
}

fn check_name(what: &str, name: &str) -> Result<(), Fault> {
    if name.len() > NAME_BYTES {
        return Err(Fault::oversize(format!("{what} has at most {NAME_BYTES} bytes, not {}", name.len())));
    }
    Ok(())
}

fn check_size(what: &str, state: Option<&[u8]>, most: usize) -> Result<(), Fault> {
    check_bytes(what, state.map_or(0, <[u8]>::len), most)
}

fn check_bytes(what: &str, bytes: usize, most: usize) -> Result<(), Fault> {
    if bytes > most {
        return Err(Fault::oversize(format!("{what} of {bytes} bytes; the limit is {most}")));
    }
    Ok(())
}

fn len(payload: &Payload) -> usize {
    match payload {
        Payload::Json(text) => text.len(),
        Payload::Binary(bytes) => bytes.len(),
    }
}
