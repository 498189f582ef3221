//! The record of what a callback asks for, held to the host's limits. What crosses one is refused in the host's words.

use std::time::Duration;

use serde::de::IgnoredAny;

use super::facts::Facts;
use super::json::read_object;
use super::knock::Asked;
use super::limits::{
    ASSIGNS_BYTES, EFFECT_BYTES, EFFECTS, GRACE, LOG_LINES, NAME_BYTES, PRESENCE_BYTES, PRESENCES, ROOM_BYTES,
    SUBSCRIPTIONS, TIMER_SHORTEST, TIMERS,
};
use super::stored::{Draft, Stored};
use super::terms::RouteTerms;
use super::{Effect, Fault, Sent, fault};
use crate::bindings::bennu::channel::types::Outcome;
use crate::bindings::exports::bennu::channel::upgrade::Part;
use crate::log::Level;
use crate::{Answer, Decision, Payload, Reply, ReplyRef, TimerId, Value};

/// What the host adds to each meta of a presence.
const REFS: [&str; 2] = ["phx_ref", "phx_ref_prev"];

/// What a callback may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Capability {
    Reads,
    Topic,
    Member,
}

/// What a member has at the host.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberUsage {
    pub(super) timers: Vec<u64>,
    pub(super) next_timer: u64,
    pub(super) presences: Vec<String>,
    pub(super) topics: Vec<String>,
}

/// What one callback read and asked for.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) facts: Facts,
    power: Capability,
    pub(super) effects: Vec<Effect>,
    pub(super) lines: Vec<(Level, String)>,
    /// Bytes of the effects and of the answer.
    bytes: usize,
    /// What the member would have after what was asked so far.
    pub(super) holdings: MemberUsage,
    /// Its view of what is stored; none where it may not ask.
    draft: Option<Draft>,
}

impl Record {
    /// For a callback of a member that has this at the host.
    pub(super) fn of_member(facts: Facts, holdings: MemberUsage) -> Self {
        Self { power: Capability::Member, holdings, ..Self::reading(facts) }
    }

    /// For a callback of a topic.
    pub(super) fn of_topic(facts: Facts) -> Self {
        Self { power: Capability::Topic, ..Self::reading(facts) }
    }

    /// For a callback that only reads.
    pub(super) fn reading(facts: Facts) -> Self {
        let (effects, lines, holdings) = (Vec::new(), Vec::new(), MemberUsage::default());
        let draft = Some(Draft::of(&facts.stored));
        Self { facts, power: Capability::Reads, effects, lines, bytes: 0, holdings, draft }
    }

    /// For an upgrade, which reads nothing that is stored either.
    pub(super) fn upgrading(facts: Facts) -> Self {
        Self { draft: None, ..Self::reading(facts) }
    }

    pub(super) fn member(&self) -> Result<&Facts, Fault> {
        if self.power == Capability::Member {
            return Ok(&self.facts);
        }
        Err(Fault::failed("this callback has no member"))
    }

    pub(super) fn request(&self) -> Result<&Asked, Fault> {
        let none = || Fault::failed("this callback has no connection request");
        self.facts.request.as_ref().ok_or_else(none)
    }

    pub(super) fn log(&mut self, level: Level, line: &str) -> Result<(), Fault> {
        if self.lines.len() >= LOG_LINES {
            return Err(Fault::oversize(format!("a call logs at most {LOG_LINES} lines")));
        }
        self.lines.push((level, fault::one_line(line)));
        Ok(())
    }

    /// An event to the client, to the topic, or to another topic: `effect` makes one of it.
    pub(super) fn send(&mut self, sent: Sent, effect: impl FnOnce(Sent) -> Effect) -> Result<(), Fault> {
        let bytes = check_sent(&sent)?;
        self.add(bytes, effect(sent))
    }

    pub(super) fn publish(&mut self, topic: &str, sent: Sent) -> Result<(), Fault> {
        self.check_reachable("publishing to", topic)?;
        check_name("a topic", topic)?;
        let bytes = topic.len() + check_sent(&sent)?;
        self.add(bytes, Effect::Publish(topic.into(), sent))
    }

    pub(super) fn send_to(&mut self, topic: &str, sent: Sent) -> Result<(), Fault> {
        self.check_reachable("sending to", topic)?;
        check_name("a topic", topic)?;
        let bytes = topic.len() + check_own(&sent)?;
        self.add(bytes, Effect::Send(topic.into(), sent))
    }

    pub(super) fn subscribe(&mut self, topic: &str) -> Result<(), Fault> {
        self.check_readable(topic)?;
        check_name("a topic", topic)?;
        if self.holdings.topics.iter().any(|other| other == topic) {
            return Ok(());
        }
        if self.holdings.topics.len() >= SUBSCRIPTIONS {
            return Err(Fault::oversize(format!("a member subscribes to at most {SUBSCRIPTIONS} further topics")));
        }
        self.add(topic.len(), Effect::Subscribe(topic.into()))?;
        self.holdings.topics.push(topic.into());
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, topic: &str) -> Result<(), Fault> {
        self.holdings.topics.retain(|other| other != topic);
        self.add(topic.len(), Effect::Unsubscribe(topic.into()))
    }

    pub(super) fn disconnect(&mut self, socket_id: &str) -> Result<(), Fault> {
        if self.facts.socket_id.as_deref() != Some(socket_id) {
            self.check_reachable("disconnecting", socket_id)?;
        }
        check_name("a socket's id", socket_id)?;
        self.add(socket_id.len(), Effect::Disconnect(socket_id.into()))
    }

    pub(super) fn track(&mut self, key: &str, meta: &str) -> Result<(), Fault> {
        check_name("a presence's key", key)?;
        let (value, bytes) = check_meta(meta)?;
        if self.is_tracked(key) {
            return Err(Fault::failed(format!("the member is tracked under `{key}` already; update its meta instead")));
        }
        if self.holdings.presences.len() >= PRESENCES {
            return Err(Fault::oversize(format!("a member has at most {PRESENCES} presences")));
        }
        self.add(key.len() + bytes, Effect::Track(key.into(), value))?;
        self.holdings.presences.push(key.into());
        Ok(())
    }

    pub(super) fn update_presence(&mut self, key: &str, meta: &str) -> Result<(), Fault> {
        let (value, bytes) = check_meta(meta)?;
        if self.power == Capability::Member && !self.is_tracked(key) {
            return Err(Fault::failed(format!("the member isn't tracked under `{key}`; track it first")));
        }
        self.add(key.len() + bytes, Effect::UpdatePresence(key.into(), value))
    }

    pub(super) fn untrack(&mut self, key: &str) -> Result<(), Fault> {
        self.holdings.presences.retain(|other| other != key);
        self.add(key.len(), Effect::Untrack(key.into()))
    }

    pub(super) fn push_presence(&mut self) -> Result<(), Fault> {
        self.add(0, Effect::PushPresence)
    }

    fn check_reachable(&self, doing: &str, topic: &str) -> Result<(), Fault> {
        if self.facts.reach.as_ref().is_none_or(|reach| reach.may_publish(topic)) {
            return Ok(());
        }
        Err(Fault::failed(format!("{doing} `{topic}` isn't granted; add it to `plugins.NAME.publish`")))
    }

    /// Checks that a topic may be subscribed to and read about.
    pub(super) fn check_readable(&self, topic: &str) -> Result<(), Fault> {
        if self.facts.reach.as_ref().is_none_or(|reach| reach.may_read(topic)) {
            return Ok(());
        }
        Err(unreadable(topic))
    }

    /// Checks that every topic with a prefix may be read about.
    pub(super) fn check_readable_under(&self, prefix: &str) -> Result<(), Fault> {
        if self.facts.reach.as_ref().is_none_or(|reach| reach.may_read_under(prefix)) {
            return Ok(());
        }
        Err(unreadable(&format!("{prefix}*")))
    }

    fn is_tracked(&self, key: &str) -> bool {
        self.holdings.presences.iter().any(|other| other == key)
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
        if self.holdings.timers.len() >= TIMERS {
            return Err(Fault::oversize(format!("a member has at most {TIMERS} timers under way")));
        }
        let timer = self.holdings.next_timer;
        self.add(bytes, Effect::SendAfter(TimerId(timer), after, sent))?;
        self.holdings.timers.push(timer);
        self.holdings.next_timer += 1;
        Ok(timer)
    }

    pub(super) fn cancel(&mut self, timer: u64) -> Result<(), Fault> {
        self.holdings.timers.retain(|&under_way| under_way != timer);
        self.add(0, Effect::Cancel(TimerId(timer)))
    }

    pub(super) fn tick(&mut self, period: Duration) -> Result<(), Fault> {
        if !period.is_zero() && period < TIMER_SHORTEST {
            let shortest = TIMER_SHORTEST.as_millis();
            return Err(Fault::oversize(format!("a topic's beat takes at least {shortest} ms")));
        }
        self.add(0, Effect::Tick(period))
    }

    pub(super) fn publish_state(&mut self, state: &str) -> Result<(), Fault> {
        check_bytes("effects and answer", self.bytes.saturating_add(state.len()), EFFECT_BYTES)?;
        let object = read_object(state)
            .map_err(|error| Fault::failed(format!("a published state is a JSON object: {error}")))?;
        self.add(state.len(), Effect::PublishState(Value::Object(object)))
    }

    pub(super) fn take_seat(&mut self, name: &str, grace: Duration) -> Result<(), Fault> {
        check_name("a seat's name", name)?;
        if grace > GRACE {
            return Err(Fault::oversize("a seat is kept for at most a day"));
        }
        self.add(name.len(), Effect::TakeSeat(name.into(), grace))
    }

    pub(super) fn leave_seat(&mut self) -> Result<(), Fault> {
        self.add(0, Effect::LeaveSeat)
    }

    /// What it sees of what is stored.
    pub(super) fn stored(&mut self) -> Result<&mut Draft, Fault> {
        self.draft.as_mut().ok_or_else(|| Fault::failed("this callback has no access to the store"))
    }

    /// The same, to write.
    pub(super) fn stored_mut(&mut self) -> Result<&mut Draft, Fault> {
        let is_reading = self.power == Capability::Reads;
        let draft = self.stored()?;
        if is_reading {
            return Err(Fault::failed("this callback may only read the store"));
        }
        Ok(draft)
    }

    /// Takes what is stored once it has succeeded.
    pub(super) fn take_stored(&mut self) -> Stored {
        self.draft.take().unwrap_or_default().commit()
    }

    /// Checks what a callback of a route gave back, in the order in which the host does.
    pub(super) fn check(&mut self, outcome: &Outcome, terms: &RouteTerms) -> Result<(), Fault> {
        outcome.assigns.iter().try_for_each(|assigns| self.check_state(Part::Assigns, assigns))?;
        outcome.room.iter().try_for_each(|room| self.check_state(Part::Room, room))?;
        match &outcome.answer {
            Answer::Reply(reply) => self.check_reply(reply)?,
            Answer::Stop(stop) => stop.reply.iter().try_for_each(|reply| self.check_reply(reply))?,
            Answer::None => {}
        }
        let needs_room =
            |effect: &Effect| matches!(effect, Effect::Tick(_) | Effect::PublishState(_) | Effect::TakeSeat(..));
        if terms.room.is_none() && self.effects.iter().any(needs_room) {
            return Err(Fault::failed(
                "a beat, a seat or a published state was asked for, but the route has no room: its option `room` says whether it does (`type Room` in Rust)",
            ));
        }
        Ok(())
    }

    /// Checks the response of a join that is refused.
    pub(super) fn check_refusal(&mut self, response: &Payload) -> Result<(), Fault> {
        check_value(response).map_err(Fault::failed)?;
        self.count_bytes(response.len())
    }

    /// Checks a decision of `handle_out`.
    pub(super) fn check_decision(&mut self, decision: &Decision) -> Result<(), Fault> {
        let Decision::Replace(payload) = decision else { return Ok(()) };
        check_object(payload).map_err(Fault::failed)?;
        self.count_bytes(payload.len())
    }

    /// Checks the size of a state.
    pub(super) fn check_state(&self, part: Part, state: &[u8]) -> Result<(), Fault> {
        match part {
            Part::Assigns => check_bytes("assigns", state.len(), ASSIGNS_BYTES),
            Part::Room => check_bytes("room", state.len(), ROOM_BYTES),
        }
    }

    fn check_reply(&mut self, reply: &Reply) -> Result<(), Fault> {
        check_name("a status", &reply.status)?;
        check_value(&reply.payload).map_err(Fault::failed)?;
        self.count_bytes(reply.payload.len())
    }

    fn add(&mut self, bytes: usize, effect: Effect) -> Result<(), Fault> {
        self.check_power(match &effect {
            Effect::Broadcast(_) | Effect::Publish(..) | Effect::Send(..) => Capability::Topic,
            Effect::Disconnect(_) | Effect::Tick(_) | Effect::PublishState(_) => Capability::Topic,
            _ => Capability::Member,
        })?;
        if self.effects.len() >= EFFECTS {
            return Err(Fault::oversize(format!("a call asks for at most {EFFECTS} effects")));
        }
        self.count_bytes(bytes)?;
        self.effects.push(effect);
        Ok(())
    }

    fn check_power(&self, needed: Capability) -> Result<(), Fault> {
        match self.power {
            power if power >= needed => Ok(()),
            Capability::Reads => Err(Fault::failed("an effect was asked for in a callback that only reads")),
            _ => Err(Fault::failed("an effect was asked for that needs a member, in a callback that has none")),
        }
    }

    fn count_bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes += bytes;
        check_bytes("effects and answer", self.bytes, EFFECT_BYTES)
    }
}

/// Checks an event to a client. Gives its bytes.
fn check_sent(sent: &Sent) -> Result<usize, Fault> {
    check_name("an event", &sent.event)?;
    check_object(&sent.payload).map_err(|why| Fault::failed(format!("event `{}`: {why}", sent.event)))?;
    Ok(sent.bytes())
}

/// Checks that a JSON payload is an object.
fn check_object(payload: &Payload) -> Result<(), String> {
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
    Ok(sent.bytes())
}

/// Checks the meta of a presence, and reads it, but for the refs, which are the host's. Gives how many bytes it counts for.
fn check_meta(meta: &str) -> Result<(Value, usize), Fault> {
    check_bytes("a presence's meta", meta.len(), PRESENCE_BYTES)?;
    let mut object =
        read_object(meta).map_err(|error| Fault::failed(format!("a presence's meta is a JSON object: {error}")))?;
    let had_refs = REFS.map(|name| object.remove(name).is_some()).contains(&true);
    let value = Value::Object(object);
    let bytes = if had_refs { value.to_string().len() } else { meta.len() };
    Ok((value, bytes))
}

fn unreadable(topic: &str) -> Fault {
    Fault::failed(format!("reading `{topic}` isn't granted; add it to `plugins.NAME.read`"))
}

fn check_name(what: &str, name: &str) -> Result<(), Fault> {
    if name.len() > NAME_BYTES {
        return Err(Fault::oversize(format!("{what} has at most {NAME_BYTES} bytes, not {}", name.len())));
    }
    Ok(())
}

fn check_bytes(what: &str, bytes: usize, most: usize) -> Result<(), Fault> {
    if bytes > most {
        return Err(Fault::oversize(format!("{what} of {bytes} bytes; the limit is {most}")));
    }
    Ok(())
}
