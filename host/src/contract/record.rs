//! The record of what a call asks for, held to its limits.
//!
//! Whatever could go wrong with an effect is found here, when it is asked for: a commit has nothing left to refuse.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use super::{CallLimits, Decision, Effect, Fault, Reply, TimerId};
use crate::protocol::{NAME_BYTES_MAX, Payload, Topic};

/// What a call has asked for so far.
#[derive(Debug)]
pub struct Record {
    limits: CallLimits,
    /// Whether it may ask for anything: `describe` and `handle-out` only read.
    may_ask: bool,
    effects: Vec<Effect>,
    bytes: usize,
    /// The member's timers that would be under way after what was asked so far.
    timers: Vec<TimerId>,
    next_timer: TimerId,
    /// The payload that the call was given: one that comes back unchanged needn't be read again.
    given: Option<ByteString>,
}

impl Record {
    /// An empty record.
    #[must_use]
    pub fn new(limits: CallLimits) -> Self {
        let (effects, timers) = (Vec::new(), Vec::new());
        Self { limits, may_ask: false, effects, bytes: 0, timers, next_timer: 0, given: None }
    }

    /// Starts anew for a call of a member with these timers, given this payload.
    pub fn open(&mut self, timers: Vec<TimerId>, next_timer: TimerId, given: Option<&Payload>) {
        self.reset(true);
        self.timers = timers;
        self.next_timer = next_timer;
        self.given = match given {
            Some(Payload::Json(text)) => Some(text.clone()),
            _ => None,
        };
    }

    /// Starts anew for a call that only reads.
    pub fn open_reading(&mut self) {
        self.reset(false);
    }

    fn reset(&mut self, may_ask: bool) {
        self.may_ask = may_ask;
        self.effects = Vec::new();
        self.bytes = 0;
        self.timers = Vec::new();
        self.given = None;
    }

    /// Takes the effects, in the order asked, and forgets the call.
    pub fn take(&mut self) -> Vec<Effect> {
        self.given = None;
        std::mem::take(&mut self.effects)
    }

    /// An event to the member's client.
    ///
    /// # Errors
    /// As all of these: [`Fault`] where a limit is crossed, the payload is of the wrong kind, or the call only reads.
    pub fn push(&mut self, event: ByteString, payload: Payload) -> Result<(), Fault> {
        self.check_event(&event, &payload)?;
        self.add(event.len() + payload.len(), Effect::Push { event, payload })
    }

    /// An event to the topic's members.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn broadcast(&mut self, event: ByteString, payload: Payload, skip_self: bool) -> Result<(), Fault> {
        self.check_event(&event, &payload)?;
        self.add(event.len() + payload.len(), Effect::Broadcast { event, payload, skip_self })
    }

    /// An event to another topic's members. Whether that topic is granted is checked by the caller.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn publish(&mut self, topic: &str, event: ByteString, payload: Payload) -> Result<(), Fault> {
        check_name("a topic", topic)?;
        self.check_event(&event, &payload)?;
        let bytes = topic.len() + event.len() + payload.len();
        self.add(bytes, Effect::Publish { topic: Topic::new(topic), event, payload })
    }

    /// An answer to an earlier message.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn reply(&mut self, reply_ref: ByteString, reply: Reply) -> Result<(), Fault> {
        // It becomes part of a frame as it is.
        let is_json = Payload::Json(reply_ref.clone()).check_value().is_ok();
        if !is_json || reply_ref.len() > NAME_BYTES_MAX {
            return Err(Fault::failed("a reply-ref is given back as it came with handle-in; this is none"));
        }
        self.check_reply(&reply)?;
        self.add(reply_ref.len() + reply.payload.len(), Effect::Reply { reply_ref, reply })
    }

    /// A message to the member itself.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn send_self(&mut self, event: ByteString, payload: Payload) -> Result<(), Fault> {
        self.check_own(&event, &payload)?;
        self.add(event.len() + payload.len(), Effect::SendSelf { event, payload })
    }

    /// A message to the member itself, later. Gives the timer's number.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn send_after(&mut self, after: Duration, event: ByteString, payload: Payload) -> Result<TimerId, Fault> {
        self.check_own(&event, &payload)?;
        if after < self.limits.timer_shortest {
            let shortest = self.limits.timer_shortest.as_millis();
            return Err(Fault::oversize(format!("a timer takes at least {shortest} ms; use send-self for now")));
        }
        if self.timers.len() >= self.limits.timers {
            return Err(Fault::oversize(format!("a member has at most {} timers under way", self.limits.timers)));
        }
        let timer = self.next_timer;
        self.add(event.len() + payload.len(), Effect::SendAfter { timer, after, event, payload })?;
        self.timers.push(timer);
        self.next_timer += 1;
        Ok(timer)
    }

    /// A timer taken back.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn cancel(&mut self, timer: TimerId) -> Result<(), Fault> {
        self.timers.retain(|&under_way| under_way != timer);
        self.add(0, Effect::Cancel(timer))
    }

    /// Checks an answer, whose bytes count with those of the effects.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn check_reply(&mut self, reply: &Reply) -> Result<(), Fault> {
        check_name("a status", &reply.status)?;
        self.check_value(&reply.payload)?;
        self.count_bytes(reply.payload.len())
    }

    /// Checks the response of a join, whose bytes count with those of the effects.
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
        check_size("assigns", assigns.len(), self.limits.assigns_bytes)
    }

    /// Checks a new shared state of the topic.
    ///
    /// # Errors
    /// See [`push`](Self::push).
    pub fn check_room(&self, room: &Bytes) -> Result<(), Fault> {
        check_size("room", room.len(), self.limits.room_bytes)
    }

    fn check_event(&self, event: &str, payload: &Payload) -> Result<(), Fault> {
        check_name("an event", event)?;
        if self.is_given(payload) && is_object(payload) {
            return Ok(());
        }
        payload.check_object().map_err(|error| Fault::failed(format!("event `{event}`: {error}")))
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

    /// Comparing bytes is cheaper than reading JSON, and what came in has been read.
    fn is_given(&self, payload: &Payload) -> bool {
        matches!((payload, &self.given), (Payload::Json(text), Some(given)) if text == given)
    }

    fn add(&mut self, bytes: usize, effect: Effect) -> Result<(), Fault> {
        if !self.may_ask {
            return Err(Fault::failed("an effect was asked for in a callback that only reads"));
        }
        if self.effects.len() >= self.limits.effects {
            return Err(Fault::oversize(format!("a call asks for at most {} effects", self.limits.effects)));
        }
        self.count_bytes(bytes)?;
        self.effects.push(effect);
        Ok(())
    }

    fn count_bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(bytes);
        check_size("effects and answer", self.bytes, self.limits.effect_bytes)
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

fn check_size(what: &str, bytes: usize, most: usize) -> Result<(), Fault> {
    if bytes > most {
        return Err(Fault::oversize(format!("{what} of {bytes} bytes; the limit is {most}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::FaultKind;
    use super::*;

    fn json(text: &'static str) -> Payload {
        Payload::Json(ByteString::from_static(text))
    }

    fn record(limits: CallLimits) -> Record {
        let mut record = Record::new(limits);
        record.open(Vec::new(), 0, None);
        record
    }

    fn kind<T>(result: Result<T, Fault>) -> Option<FaultKind> {
        result.err().map(|fault| fault.kind)
    }

    #[test]
    fn what_may_not_enter_a_frame_is_a_fault_when_asked_for() {
        let mut record = record(CallLimits::default());
        assert_eq!(kind(record.push("e".into(), json("[1]"))), Some(FaultKind::Failed));
        assert_eq!(kind(record.broadcast("e".into(), json("{"), false)), Some(FaultKind::Failed));
        assert_eq!(kind(record.push("e".repeat(256).into(), json("{}"))), Some(FaultKind::Oversize));
        assert_eq!(
            kind(record.reply("],[".into(), Reply { status: "ok".into(), payload: json("{}") })),
            Some(FaultKind::Failed)
        );
        assert_eq!(record.take(), []);
    }

    #[test]
    fn a_payload_that_comes_back_unchanged_must_still_be_an_object() {
        let mut record = Record::new(CallLimits::default());
        record.open(Vec::new(), 0, Some(&json("[1]")));
        assert_eq!(kind(record.push("e".into(), json("[1]"))), Some(FaultKind::Failed));
        assert_eq!(kind(record.send_self("e".into(), json("[1]"))), None);
    }

    #[test]
    fn effects_are_counted_and_weighed() {
        let mut record = record(CallLimits { effects: 2, effect_bytes: 10, ..CallLimits::default() });
        assert_eq!(kind(record.push("e".into(), json("{\"a\":100000}"))), Some(FaultKind::Oversize));
        let mut record = self::record(CallLimits { effects: 2, ..CallLimits::default() });
        assert_eq!(kind(record.push("e".into(), json("{}"))), None);
        assert_eq!(kind(record.push("e".into(), json("{}"))), None);
        assert_eq!(kind(record.push("e".into(), json("{}"))), Some(FaultKind::Oversize));
    }

    #[test]
    fn timers_are_limited_in_number_and_shortness() {
        let mut record = record(CallLimits { timers: 1, ..CallLimits::default() });
        let ms = Duration::from_millis;
        assert_eq!(kind(record.send_after(ms(9), "e".into(), json("{}"))), Some(FaultKind::Oversize));
        assert_eq!(record.send_after(ms(10), "e".into(), json("{}")), Ok(0));
        assert_eq!(kind(record.send_after(ms(10), "e".into(), json("{}"))), Some(FaultKind::Oversize));
        assert_eq!(record.cancel(0), Ok(()));
        assert_eq!(record.send_after(ms(10), "e".into(), json("{}")), Ok(1));
    }

    #[test]
    fn a_callback_that_reads_asks_for_nothing() {
        let mut record = Record::new(CallLimits::default());
        record.open_reading();
        assert_eq!(kind(record.push("e".into(), json("{}"))), Some(FaultKind::Failed));
        assert_eq!(kind(record.check_decision(&Decision::Replace(json("[]")))), Some(FaultKind::Failed));
    }
}
