//! The record of a call's effects, which checks each against the limits.
//!
//! An effect is checked when the callback asks for it, so that the commit has no effect left to refuse.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::Value;

use crate::limits::keys;
use crate::{
    CallLimits, Decision, Effect, Fault, MemberUsage, NAME_BYTES_MAX, Payload, PublishedState, Reply, TimerId, Topic,
    limit_key, read_object,
};

/// The fields that the host adds to each meta of a presence.
const REFS: [&str; 2] = ["phx_ref", "phx_ref_prev"];

/// The longest grace period of a seat.
const GRACE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The effects that a call may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// None: it only reads.
    Reads,
    /// Those that need no member.
    Topic,
    /// All.
    Member,
}

/// The effects that a call has asked for so far.
#[derive(Debug)]
pub struct Record {
    limits: CallLimits,
    capability: Capability,
    effects: Vec<Effect>,
    bytes: usize,
    /// The member's resources at the host after these effects.
    usage: MemberUsage,
    /// The payload of the call's input. If the plugin returns it unchanged, it isn't checked again.
    given: Option<ByteString>,
}

impl Record {
    /// An empty record.
    #[must_use]
    pub fn new(limits: CallLimits) -> Self {
        let (effects, usage) = (Vec::new(), MemberUsage::default());
        Self { limits, capability: Capability::Reads, effects, bytes: 0, usage, given: None }
    }

    /// Begins a call of a member that has `usage` at the host. `given` is the payload of its input.
    pub fn open(&mut self, usage: MemberUsage, given: Option<&Payload>) {
        self.open_with(Capability::Member, given);
        self.usage = usage;
    }

    /// Begins a call without a member. `given` is the payload of its input.
    pub fn open_with(&mut self, capability: Capability, given: Option<&Payload>) {
        self.capability = capability;
        self.effects = Vec::new();
        self.bytes = 0;
        self.usage = MemberUsage::default();
        self.given = match given {
            Some(Payload::Json(text)) => Some(text.clone()),
            _ => None,
        };
    }

    /// Ends the call. Returns its effects in the order in which it asked for them.
    pub fn take(&mut self) -> Vec<Effect> {
        self.given = None;
        std::mem::take(&mut self.effects)
    }

    /// An event to the member's client.
    ///
    /// # Errors
    /// A [`Fault`] if a limit is exceeded, the payload isn't allowed, or the call may not have this effect.
    pub fn push(&mut self, event: ByteString, payload: Payload) -> Result<(), Fault> {
        self.check_event(&event, &payload)?;
        self.add(Capability::Member, event.len() + payload.len(), Effect::Push { event, payload })
    }

    /// An event to the topic's members.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn broadcast(&mut self, event: ByteString, payload: Payload, skip_self: bool) -> Result<(), Fault> {
        self.check_event(&event, &payload)?;
        let capability = if skip_self { Capability::Member } else { Capability::Topic };
        self.add(capability, event.len() + payload.len(), Effect::Broadcast { event, payload, skip_self })
    }

    /// An event to another topic's members. The caller checks whether the topic is granted.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn publish(&mut self, topic: &str, event: ByteString, payload: Payload) -> Result<(), Fault> {
        check_name("a topic", topic)?;
        self.check_event(&event, &payload)?;
        let bytes = topic.len() + event.len() + payload.len();
        self.add(Capability::Topic, bytes, Effect::Publish { topic: Topic::new(topic), event, payload })
    }

    /// An event to another topic's `handle_message`. The caller checks whether the topic is granted.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn send(&mut self, topic: &str, event: ByteString, payload: Payload) -> Result<(), Fault> {
        check_name("a topic", topic)?;
        self.check_own(&event, &payload)?;
        let bytes = topic.len() + event.len() + payload.len();
        self.add(Capability::Topic, bytes, Effect::Send { topic: Topic::new(topic), event, payload })
    }

    /// A subscription of the member to a further topic. The caller checks whether the topic is granted.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn subscribe(&mut self, topic: &str) -> Result<(), Fault> {
        check_name("a topic", topic)?;
        let topic = Topic::new(topic);
        if self.usage.topics.contains(&topic) {
            return Ok(());
        }
        if self.usage.topics.len() >= self.limits.subscriptions {
            let most = self.limits.subscriptions;
            return Err(Fault::oversize(format!(
                "a member subscribes to at most {most} further topics{}",
                limit_key(keys::SUBSCRIPTIONS_PER_MEMBER, most)
            )));
        }
        self.add(Capability::Member, topic.as_str().len(), Effect::Subscribe(topic.clone()))?;
        self.usage.topics.push(topic);
        Ok(())
    }

    /// The end of such a subscription.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn unsubscribe(&mut self, topic: &str) -> Result<(), Fault> {
        let topic = Topic::new(topic);
        self.usage.topics.retain(|other| *other != topic);
        self.add(Capability::Member, topic.as_str().len(), Effect::Unsubscribe(topic))
    }

    /// The end of all sockets with an id. The caller checks whether the id is granted.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn disconnect(&mut self, socket_id: ByteString) -> Result<(), Fault> {
        check_name("a socket's id", &socket_id)?;
        self.add(Capability::Topic, socket_id.len(), Effect::Disconnect(socket_id))
    }

    /// A presence of the member.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn track(&mut self, key: ByteString, meta: ByteString) -> Result<(), Fault> {
        check_name("a presence's key", &key)?;
        let meta = self.clean_meta(meta)?;
        if self.usage.presences.contains(&key) {
            return Err(Fault::failed(format!("the member is tracked under `{key}` already; update its meta instead")));
        }
        if self.usage.presences.len() >= self.limits.presences {
            let most = self.limits.presences;
            let key = limit_key(keys::PRESENCES_PER_MEMBER, most);
            return Err(Fault::oversize(format!("a member has at most {most} presences{key}")));
        }
        self.add(Capability::Member, key.len() + meta.len(), Effect::Track { key: key.clone(), meta })?;
        self.usage.presences.push(key);
        Ok(())
    }

    /// A new meta for a presence of the member.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn update_presence(&mut self, key: ByteString, meta: ByteString) -> Result<(), Fault> {
        let meta = self.clean_meta(meta)?;
        if self.capability == Capability::Member && !self.usage.presences.contains(&key) {
            return Err(Fault::failed(format!("the member isn't tracked under `{key}`; track it first")));
        }
        self.add(Capability::Member, key.len() + meta.len(), Effect::UpdatePresence { key, meta })
    }

    /// The end of a presence of the member. An unknown key is ignored.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn untrack(&mut self, key: ByteString) -> Result<(), Fault> {
        self.usage.presences.retain(|other| *other != key);
        self.add(Capability::Member, key.len(), Effect::Untrack(key))
    }

    /// All presences of the topic to the member's client.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn push_presences(&mut self) -> Result<(), Fault> {
        self.add(Capability::Member, 0, Effect::PushPresences)
    }

    /// An answer to an earlier message.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn reply(&mut self, reply_ref: ByteString, reply: Reply) -> Result<(), Fault> {
        // The ref is copied into a frame, so it must be JSON.
        let is_json = Payload::Json(reply_ref.clone()).check_value().is_ok();
        if !is_json || reply_ref.len() > NAME_BYTES_MAX {
            return Err(Fault::failed("a reply-ref must be passed back as it came with handle-in; this isn't one"));
        }
        // This call counts the bytes of the payload.
        self.check_reply(&reply)?;
        self.add(Capability::Member, reply_ref.len(), Effect::Reply { reply_ref, reply })
    }

    /// A message to the member itself.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn send_self(&mut self, event: ByteString, payload: Payload) -> Result<(), Fault> {
        self.check_own(&event, &payload)?;
        self.add(Capability::Member, event.len() + payload.len(), Effect::SendSelf { event, payload })
    }

    /// A message to the member itself, after a delay. Returns the timer's number.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn send_after(&mut self, after: Duration, event: ByteString, payload: Payload) -> Result<TimerId, Fault> {
        self.check_own(&event, &payload)?;
        if after < self.limits.timer_shortest {
            let shortest = self.limits.timer_shortest.as_millis();
            let key = limit_key(keys::TIMER_SHORTEST_MS, shortest);
            return Err(Fault::oversize(format!(
                "a timer takes at least {shortest} ms{key}; use send-self to send at once"
            )));
        }
        if self.usage.timers.len() >= self.limits.timers {
            let most = self.limits.timers;
            let key = limit_key(keys::TIMERS_PER_MEMBER, most);
            return Err(Fault::oversize(format!("a member has at most {most} pending timers{key}")));
        }
        let timer = self.usage.next_timer;
        self.add(Capability::Member, event.len() + payload.len(), Effect::SendAfter { timer, after, event, payload })?;
        self.usage.timers.push(timer);
        self.usage.next_timer += 1;
        Ok(timer)
    }

    /// The end of a timer, before it fires.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn cancel(&mut self, timer: TimerId) -> Result<(), Fault> {
        self.usage.timers.retain(|&under_way| under_way != timer);
        self.add(Capability::Member, 0, Effect::Cancel(timer))
    }

    /// The topic's published state, the text of a JSON object. The caller checks that the topic has a room.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn publish_state(&mut self, state: ByteString) -> Result<(), Fault> {
        let bytes = state.len();
        // The size is checked before the text is parsed, so that a call can't make the host parse more than its limit.
        check_size(
            "effects and answer",
            self.bytes.saturating_add(bytes),
            (keys::EFFECT_BYTES, self.limits.effect_bytes),
        )?;
        let state = PublishedState::read(state)
            .map_err(|error| Fault::failed(format!("a published state is a JSON object: {error}")))?;
        self.add(Capability::Topic, bytes, Effect::PublishState(state))
    }

    /// A seat for the member. The caller checks that the topic has a room.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn take_seat(&mut self, name: ByteString, grace: Duration) -> Result<(), Fault> {
        check_name("a seat's name", &name)?;
        if grace > GRACE_MAX {
            return Err(Fault::oversize("a seat is kept for at most a day"));
        }
        self.add(Capability::Member, name.len(), Effect::TakeSeat { name, grace })
    }

    /// The end of the member's seat. It is ignored if the member has none.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn leave_seat(&mut self) -> Result<(), Fault> {
        self.add(Capability::Member, 0, Effect::LeaveSeat)
    }

    /// The topic's tick period; 0 ends the tick. The caller checks that the topic has a room.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn set_tick(&mut self, period: Duration) -> Result<(), Fault> {
        if !period.is_zero() && period < self.limits.timer_shortest {
            let shortest = self.limits.timer_shortest.as_millis();
            let key = limit_key(keys::TIMER_SHORTEST_MS, shortest);
            return Err(Fault::oversize(format!("a topic's tick period is at least {shortest} ms{key}")));
        }
        self.add(Capability::Topic, 0, Effect::SetTick((!period.is_zero()).then_some(period)))
    }

    /// Checks a reply. Its bytes count together with those of the effects.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn check_reply(&mut self, reply: &Reply) -> Result<(), Fault> {
        check_name("a status", &reply.status)?;
        self.check_value(&reply.payload)?;
        self.count_bytes(reply.payload.len())
    }

    /// Checks the response of a join. Its bytes count together with those of the effects.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn check_response(&mut self, response: &Payload) -> Result<(), Fault> {
        self.check_value(response)?;
        self.count_bytes(response.len())
    }

    /// Checks a decision of `handle-out`.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn check_decision(&mut self, decision: &Decision) -> Result<(), Fault> {
        let Decision::Replace(payload) = decision else { return Ok(()) };
        payload.check_object().map_err(|error| Fault::failed(error.to_string()))?;
        self.count_bytes(payload.len())
    }

    /// Checks a new state of the member.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn check_assigns(&self, assigns: &Bytes) -> Result<(), Fault> {
        check_size("assigns", assigns.len(), (keys::ASSIGNS_BYTES, self.limits.assigns_bytes))
    }

    /// Checks a new shared state of the topic.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn check_room(&self, room: &Bytes) -> Result<(), Fault> {
        check_size("room", room.len(), (keys::ROOM_BYTES, self.limits.room_bytes))
    }

    fn check_event(&self, event: &str, payload: &Payload) -> Result<(), Fault> {
        check_name("an event", event)?;
        if self.is_given(payload) && is_object(payload) {
            return Ok(());
        }
        payload.check_object().map_err(|error| Fault::failed(format!("event `{event}`: {error}")))
    }

    /// Checks a meta. Clients get it in one object with the metas of other members, so an unreadable meta would make
    /// all of them unreadable. The refs in a meta are the host's, so refs from the plugin are removed.
    fn clean_meta(&self, meta: ByteString) -> Result<ByteString, Fault> {
        check_size("a presence's meta", meta.len(), (keys::PRESENCE_BYTES, self.limits.presence_bytes))?;
        let mut fields = read_object(&meta)
            .map_err(|error| Fault::failed(format!("a presence's meta is a JSON object: {error}")))?;
        let had_refs = REFS.map(|name| fields.remove(name).is_some()).contains(&true);
        Ok(if had_refs { Value::Object(fields).to_string().into() } else { meta })
    }

    fn check_own(&self, event: &str, payload: &Payload) -> Result<(), Fault> {
        check_name("an event", event)?;
        self.check_value(payload)
    }

    fn check_value(&self, payload: &Payload) -> Result<(), Fault> {
        if self.is_given(payload) {
            return Ok(());
        }
        payload.check_value().map_err(|error| Fault::failed(error.to_string()))
    }

    /// Whether a payload is the payload of the call's input, which was checked when it arrived. A comparison of bytes is
    /// cheaper than a scan.
    fn is_given(&self, payload: &Payload) -> bool {
        matches!((payload, &self.given), (Payload::Json(text), Some(given)) if text == given)
    }

    fn add(&mut self, needed: Capability, bytes: usize, effect: Effect) -> Result<(), Fault> {
        if self.capability < needed {
            return Err(Fault::failed(match self.capability {
                Capability::Reads => "the call has an effect, but this callback may only read",
                _ => "the call has an effect that needs a member, but this callback has none",
            }));
        }
        if self.effects.len() >= self.limits.effects {
            let most = self.limits.effects;
            let key = limit_key(keys::EFFECTS_PER_CALL, most);
            return Err(Fault::oversize(format!("a call asks for at most {most} effects{key}")));
        }
        self.count_bytes(bytes)?;
        self.effects.push(effect);
        Ok(())
    }

    fn count_bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(bytes);
        check_size("effects and answer", self.bytes, (keys::EFFECT_BYTES, self.limits.effect_bytes))
    }
}

fn is_object(payload: &Payload) -> bool {
    matches!(payload, Payload::Json(text) if text.trim_ascii_start().starts_with('{'))
}

fn check_name(what: &str, name: &str) -> Result<(), Fault> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Fault::oversize(format!("{what} has at most {NAME_BYTES_MAX} bytes, not {}", name.len())));
    }
    Ok(())
}

fn check_size(what: &str, bytes: usize, (name, most): (&str, usize)) -> Result<(), Fault> {
    if bytes > most {
        return Err(Fault::oversize(format!("{what} of {bytes} bytes; the limit is {most}{}", limit_key(name, most))));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
