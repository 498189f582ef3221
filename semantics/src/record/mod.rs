//! The record of a call's effects, which checks each against the limits.
//!
//! An effect is checked when the callback asks for it, so that the commit has no effect left to refuse.

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::Value;

use crate::deliveries::Delivery;
use crate::limits::{check_size, keys};
use crate::{
    CallLimits, Decision, Effect, Fault, MemberUsage, NAME_BYTES_MAX, Payload, Reply, TimerId, limit_key, read_object,
};

/// The fields that the host adds to each meta of a presence.
const REFS: [&str; 2] = ["phx_ref", "phx_ref_prev"];

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
    pub(crate) limits: CallLimits,
    capability: Capability,
    effects: Vec<Effect>,
    bytes: usize,
    /// The member's resources at the host after these effects.
    pub(crate) usage: MemberUsage,
    /// The payload of the call's input. If the plugin returns it unchanged, it isn't checked again.
    given: Option<ByteString>,
    /// The prefixes of the entries that the topic publishes, if it publishes some.
    publishes: Option<Arc<[Box<str>]>>,
    /// Whether the call has discarded its effects. It may ask for none after that.
    is_discarded: bool,
}

impl Record {
    /// An empty record.
    #[must_use]
    pub fn new(limits: CallLimits) -> Self {
        let (effects, usage) = (Vec::new(), MemberUsage::default());
        let (capability, given, publishes) = (Capability::Reads, None, None);
        Self { limits, capability, effects, bytes: 0, usage, given, publishes, is_discarded: false }
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
        self.publishes = None;
        self.is_discarded = false;
        self.given = match given {
            Some(Payload::Json(text)) => Some(text.clone()),
            _ => None,
        };
    }

    /// The call is about a topic that publishes the entries with these prefixes.
    pub fn set_published(&mut self, prefixes: &Arc<[Box<str>]>) {
        self.publishes = (!prefixes.is_empty()).then(|| Arc::clone(prefixes));
    }

    /// Ends the call. Returns its effects in the order in which it asked for them.
    pub fn take(&mut self) -> Vec<Effect> {
        self.given = None;
        std::mem::take(&mut self.effects)
    }

    /// Records an effect. Returns the number of a timer. The caller checks the [grant](Effect::grant).
    ///
    /// # Errors
    /// A [`Fault`] if a limit is exceeded, a value isn't allowed, or the call may not have this effect.
    pub fn ask(&mut self, mut effect: Effect) -> Result<Option<TimerId>, Fault> {
        self.check_undiscarded()?;
        if effect.changes_nothing(&self.usage) {
            return Ok(None);
        }
        self.admit(effect.rule().capability)?;
        let timer = effect.check(self)?;
        self.count_bytes(effect.rule().bytes)?;
        self.effects.push(effect);
        Ok(timer)
    }

    /// Discards all effects so far. The caller discards the writes to the store and to entries.
    pub fn discard(&mut self) {
        self.effects = Vec::new();
        self.bytes = 0;
        self.is_discarded = true;
    }

    /// Checks that the call may still ask for an effect or a write.
    ///
    /// # Errors
    /// Fault: failed, if it has discarded its effects.
    pub fn check_undiscarded(&self) -> Result<(), Fault> {
        if self.is_discarded { Err(Fault::discarded()) } else { Ok(()) }
    }

    /// Checks an effect as [`ask`](Self::ask) does, and counts its bytes, without recording it: the caller writes it to the
    /// store with the other writes of the call.
    ///
    /// # Errors
    /// See [`ask`](Self::ask).
    pub fn check_stored(&mut self, effect: &mut Effect) -> Result<(), Fault> {
        self.check_undiscarded()?;
        self.admit(effect.rule().capability)?;
        effect.check(self)?;
        self.count_bytes(effect.rule().bytes)
    }

    /// Checks a delivery, and counts its bytes. The caller writes it to the store with the other writes of the call.
    ///
    /// # Errors
    /// See [`ask`](Self::ask).
    pub fn check_delivery(&mut self, delivery: &Delivery) -> Result<(), Fault> {
        self.check_undiscarded()?;
        self.admit(Capability::Topic)?;
        delivery.check()?;
        self.count_bytes(delivery.bytes())
    }

    /// Checks a reply. Its bytes count together with those of the effects.
    ///
    /// # Errors
    /// See [`ask`](Self::ask).
    pub fn check_reply(&mut self, reply: &Reply) -> Result<(), Fault> {
        self.check_answer(reply)?;
        self.count_bytes(reply.payload.len())
    }

    /// Checks the response of a join. Its bytes count together with those of the effects.
    ///
    /// # Errors
    /// See [`ask`](Self::ask).
    pub fn check_response(&mut self, response: &Payload) -> Result<(), Fault> {
        self.check_value(response)?;
        self.count_bytes(response.len())
    }

    /// Checks a decision of `handle-out`.
    ///
    /// # Errors
    /// See [`ask`](Self::ask).
    pub fn check_decision(&mut self, decision: &Decision) -> Result<(), Fault> {
        let Decision::Replace(payload) = decision else { return Ok(()) };
        payload.check_object().map_err(|error| Fault::failed(error.to_string()))?;
        self.count_bytes(payload.len())
    }

    /// Checks a new state of the member.
    ///
    /// # Errors
    /// See [`ask`](Self::ask).
    pub fn check_assigns(&self, assigns: &Bytes) -> Result<(), Fault> {
        check_size("assigns", assigns.len(), self.limits.assigns_bytes, Some(keys::ASSIGNS_BYTES))
    }

    /// Checks a new shared state of the topic.
    ///
    /// # Errors
    /// See [`ask`](Self::ask).
    pub fn check_room(&self, room: &Bytes) -> Result<(), Fault> {
        check_size("room", room.len(), self.limits.room_bytes, Some(keys::ROOM_BYTES))
    }

    /// Checks the status and the payload of a reply.
    pub(crate) fn check_answer(&self, reply: &Reply) -> Result<(), Fault> {
        check_name("a status", &reply.status)?;
        self.check_value(&reply.payload)
    }

    /// Checks an event to clients.
    pub(crate) fn check_event(&self, event: &str, payload: &Payload) -> Result<(), Fault> {
        check_name("an event", event)?;
        if self.is_given(payload) && is_object(payload) {
            return Ok(());
        }
        payload.check_object().map_err(|error| Fault::failed(format!("event `{event}`: {error}")))
    }

    /// Checks an event to a callback.
    pub(crate) fn check_own(&self, event: &str, payload: &Payload) -> Result<(), Fault> {
        check_name("an event", event)?;
        self.check_value(payload)
    }

    /// Checks a meta. Clients get it in one object with the metas of other members, so an unreadable meta would make
    /// all of them unreadable. The refs in a meta are the host's, so refs from the plugin are removed.
    pub(crate) fn clean_meta(&self, meta: &mut ByteString) -> Result<(), Fault> {
        check_size("a presence's meta", meta.len(), self.limits.presence_bytes, Some(keys::PRESENCE_BYTES))?;
        let mut fields =
            read_object(meta).map_err(|error| Fault::failed(format!("a presence's meta is a JSON object: {error}")))?;
        if REFS.map(|name| fields.remove(name).is_some()).contains(&true) {
            *meta = Value::Object(fields).to_string().into();
        }
        Ok(())
    }

    /// Checks that all entries whose keys begin with a prefix are published.
    pub(crate) fn check_published(&self, prefix: &str) -> Result<(), Fault> {
        let mut published = self.publishes.iter().flat_map(|published| published.iter());
        if published.any(|published| prefix.starts_with(&**published)) {
            return Ok(());
        }
        Err(Fault::failed(format!(
            "a member follows only published entries; no prefix in the route's option `publishes` covers `{prefix}`"
        )))
    }

    /// Checks that the call may have this many more bytes of effects.
    pub(crate) fn check_bytes(&self, more: usize) -> Result<(), Fault> {
        let bytes = self.bytes.saturating_add(more);
        check_size("effects and answer", bytes, self.limits.effect_bytes, Some(keys::EFFECT_BYTES))
    }

    fn count_bytes(&mut self, more: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(more);
        self.check_bytes(0)
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

    /// Checks that the call may have one more effect, of a kind that needs this capability.
    fn admit(&self, needed: Capability) -> Result<(), Fault> {
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
        Ok(())
    }
}

fn is_object(payload: &Payload) -> bool {
    matches!(payload, Payload::Json(text) if text.trim_ascii_start().starts_with('{'))
}

pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Fault> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Fault::oversize(format!("{what} has at most {NAME_BYTES_MAX} bytes, not {}", name.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
