//! Commits: an outcome carried out, in order: state, effects, answer.
//!
//! What could be refused was refused when it was asked for; what is left to check is whether there is room for it, before
//! anything is done.

use std::sync::Arc;

use super::membership::{Phase, Remains, State};
use super::timers::Timers;
use super::{Channel, Entry};
use crate::contract::{Answer, Effect, Ending, Fault, FaultKind, Message, Outcome, Reply, Source, Stop};
use crate::protocol::{Outbound, Ref};
use crate::pubsub::{Audience, Broadcast};

impl Channel {
    /// Carries out the outcome of a callback of a member that is in, and answers `reference`. Gives what remains of a
    /// member that the plugin stopped. Of a member that ended while the callback ran, nothing is done.
    pub(super) fn commit(
        self: &Arc<Self>,
        outcome: Outcome,
        reference: Option<&Ref>,
    ) -> Result<Option<(Remains, Ending)>, Fault> {
        let mut state = self.lock();
        if state.phase != Phase::Joined {
            return Ok(None);
        }
        let audience = state.subscription.as_ref().map(|subscription| Arc::clone(subscription.audience()));
        let answers_nobody = matches!(outcome.answer, Answer::Reply(_)) && reference.is_none();
        if answers_nobody || matches!(outcome.answer, Answer::Admit(_) | Answer::Refuse(_)) {
            return Err(Fault::failed("there is no message to answer here; use socket.reply with a kept ref"));
        }
        if outcome.room.is_some() || !self.has_room_for(audience.as_deref(), &outcome.effects, state.timers.bytes()) {
            return Err(self.excess(outcome.room.is_some()));
        }
        if let Some(assigns) = outcome.assigns {
            state.assigns = assigns;
        }
        self.carry_out(outcome.effects, audience.as_deref(), Some(&mut state.timers));
        Ok(self.answer(&mut state, audience.as_deref(), outcome.answer, reference))
    }

    fn answer(
        &self,
        state: &mut State,
        audience: Option<&Audience>,
        answer: Answer,
        reference: Option<&Ref>,
    ) -> Option<(Remains, Ending)> {
        let send = |reply: &Reply| {
            if let Some(reference) = reference {
                self.send_reply(audience, reference, reply);
            }
        };
        match answer {
            Answer::Reply(reply) => send(&reply),
            Answer::Stop(Stop { reason, reply }) => {
                if let Some(reply) = &reply {
                    send(reply);
                }
                let remains = self.leave_state(state, Phase::Ended);
                self.send_close(audience);
                return Some((remains, Ending::Stopped(reason)));
            }
            Answer::None | Answer::Admit(_) | Answer::Refuse(_) => {}
        }
        None
    }

    /// Whether the queues that these effects go to have room for them, beside the bytes of the timers under way.
    pub(super) fn has_room_for(&self, audience: Option<&Audience>, effects: &[Effect], timer_bytes: usize) -> bool {
        let (mut own, mut bytes) = (0, timer_bytes);
        for effect in effects {
            match effect {
                Effect::SendSelf { event, payload } => {
                    own += 1;
                    bytes += event.len() + payload.len();
                }
                Effect::SendAfter { event, payload, .. } => bytes += event.len() + payload.len(),
                Effect::Publish { topic, .. } => {
                    let there = self.node.pubsub.audience(topic.as_str());
                    if !there.is_none_or(|there| there.has_room(effects.len())) {
                        return false;
                    }
                }
                _ => {}
            }
        }
        // One more for the answer.
        self.has_room(own, bytes) && audience.is_none_or(|audience| audience.has_room(effects.len() + 1))
    }

    pub(super) fn excess(&self, room: bool) -> Fault {
        if room {
            return Fault::failed("a room was given back, but the route asks for none");
        }
        Fault::new(FaultKind::Overflow, "a queue that the effects go to is full")
    }

    /// Does what was asked for, in order.
    pub(super) fn carry_out(
        self: &Arc<Self>,
        effects: Vec<Effect>,
        audience: Option<&Audience>,
        mut timers: Option<&mut Timers>,
    ) {
        let (join_ref, topic) = (self.mark(), &self.member.topic);
        for effect in effects {
            match effect {
                Effect::Push { event, payload } => {
                    let topic = topic.as_str();
                    self.send(audience, Outbound::Push { join_ref, topic, event: &event, payload: &payload });
                }
                Effect::Broadcast { event, payload, skip_self } => {
                    let except = skip_self.then_some(self.member.id);
                    self.node.pubsub.broadcast(Broadcast { topic: topic.clone(), event, payload, except });
                }
                Effect::Publish { topic, event, payload } => {
                    self.node.pubsub.broadcast(Broadcast { topic, event, payload, except: None });
                }
                Effect::Reply { reply_ref, reply } => {
                    self.send_reply(audience, &Ref::from_json(reply_ref), &reply);
                }
                Effect::SendSelf { event, payload } => {
                    let message = Message { source: Source::Own, topic: topic.clone(), event, payload };
                    self.post(Entry::Info(message));
                }
                Effect::SendAfter { timer, after, event, payload } => {
                    if let Some(timers) = &mut timers {
                        timers.start(self, timer, after, (event, payload));
                    }
                }
                Effect::Send { .. } | Effect::Subscribe(_) | Effect::Unsubscribe(_) | Effect::Disconnect(_) => {}
                Effect::Track { .. } | Effect::UpdatePresence { .. } => {}
                Effect::Untrack(_) | Effect::PushPresences => {}
                Effect::Cancel(timer) => {
                    if let Some(timers) = &mut timers {
                        timers.cancel(timer);
                    }
                }
            }
        }
    }

    pub(super) fn send_reply(&self, audience: Option<&Audience>, reference: &Ref, reply: &Reply) {
        let (join_ref, to) = (self.mark(), self.addressee());
        let Reply { status, payload } = reply;
        self.send(audience, Outbound::Reply { join_ref, reference, to: &to, status, payload });
    }

    pub(super) fn send_close(&self, audience: Option<&Audience>) {
        self.send(audience, Outbound::Close { join_ref: self.mark(), topic: self.member.topic.as_str() });
    }

    pub(super) fn send_error(&self, audience: Option<&Audience>) {
        self.send(audience, Outbound::Error { join_ref: self.mark(), topic: self.member.topic.as_str() });
    }
}
