//! Commits: an outcome carried out, in order: state, effects, answer.
//!
//! What could be refused was refused when it was asked for; what is left to check is whether there is room for it, before
//! anything is done.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use bytestring::ByteString;

use super::invoke::Evaluated;
use super::member::{EndedMember, Phase, State};
use super::seats::Departure;
use super::topic_message::Sender;
use super::{Channel, MemberEvent};
use crate::contract::{Answer, Effect, Ending, Fault, FaultKind, Message, Outcome, Reply, Source, Stop};
use crate::protocol::{Outbound, Ref};
use crate::pubsub::{Audience, Broadcast, Except};

/// The event that phoenix.js's `Presence` begins with.
const PRESENCE_STATE: &str = "presence_state";

/// What a call does with its member's seat. A member has one seat, so of all that a call asks for the last counts: a call that
/// took a thousand seats one after another would have the plugin told of each.
#[derive(Default)]
struct SeatRequest {
    /// Whether it gives up the seat that it had before the call.
    leaves: bool,
    /// The seat that it takes then, and for how long that is kept.
    takes: Option<(ByteString, Duration)>,
}

impl Channel {
    /// Carries out the outcome of a callback, which [may be](Self::may_commit), and answers `reference`. Gives what remains of a
    /// member that the plugin stopped. Of one that ended while the store was written, what reaches others still is done.
    pub(super) fn commit(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        evaluated: Evaluated,
        reference: Option<&Ref>,
    ) -> Option<(EndedMember, Ending)> {
        let Evaluated { outcome, assigns, room, is_room_stored, .. } = evaluated;
        if let Some(room) = room {
            self.queue.save_room(room, is_room_stored);
        }
        if state.phase != Phase::Joined {
            if let (Some(assigns), Some(replaced)) = (assigns, &mut state.replaced) {
                replaced.assigns = assigns;
            }
            drop(state);
            self.carry_out(outcome.effects, None, None);
            return None;
        }
        if let Some(assigns) = assigns {
            state.assigns = assigns;
        }
        self.roll_back_late(&state);
        let audience = state.subscription.as_ref().map(|subscription| Arc::clone(subscription.audience()));
        self.carry_out(outcome.effects, audience.as_deref(), Some(&mut state));
        self.answer(&mut state, audience.as_deref(), outcome.answer, reference)
    }

    /// Whether the member is still in; of one that ended while the callback ran, nothing is done.
    ///
    /// # Errors
    /// What else stands in the way.
    pub(super) fn may_commit(&self, state: &State, outcome: &Outcome, reference: Option<&Ref>) -> Result<bool, Fault> {
        if state.phase != Phase::Joined {
            return Ok(false);
        }
        let answers_nobody = matches!(outcome.answer, Answer::Reply(_)) && reference.is_none();
        if answers_nobody || matches!(outcome.answer, Answer::Admit(_) | Answer::Refuse(_)) {
            return Err(Fault::failed("there is no message to answer here; use socket.reply with a kept ref"));
        }
        let audience = state.subscription.as_ref().map(|subscription| &**subscription.audience());
        if !self.has_room_for(audience, &outcome.effects, state.timers.bytes()) {
            return Err(overflow());
        }
        Ok(true)
    }

    /// Both in one, where there is nothing to store.
    ///
    /// # Errors
    /// See [`may_commit`](Self::may_commit).
    pub(super) fn commit_if_in(
        self: &Arc<Self>,
        mut evaluated: Evaluated,
        reference: Option<&Ref>,
    ) -> Result<Option<(EndedMember, Ending)>, Fault> {
        evaluated.is_room_stored = true;
        let state = self.lock();
        let may = self.may_commit(&state, &evaluated.outcome, reference)?;
        Ok(if may { self.commit(state, evaluated, reference) } else { None })
    }

    fn answer(
        &self,
        state: &mut State,
        audience: Option<&Audience>,
        answer: Answer,
        reference: Option<&Ref>,
    ) -> Option<(EndedMember, Ending)> {
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
                let ended = self.leave_state(state, Phase::Ended);
                self.send_close(audience);
                return Some((ended, Ending::Stopped(reason)));
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
                _ => {}
            }
        }
        let has_room = self.has_room(own, bytes) && self.node.has_room_for(effects);
        // One more for the answer.
        has_room && audience.is_none_or(|audience| audience.has_room(effects.len() + 1))
    }

    /// Does what was asked for, in order. Of a member that has ended there is no state, and so only what reaches others or
    /// its client is done.
    pub(super) fn carry_out(
        self: &Arc<Self>,
        effects: Vec<Effect>,
        audience: Option<&Audience>,
        mut state: Option<&mut State>,
    ) {
        let (join_ref, topic) = (self.mark(), &self.member.topic);
        let mut seat = SeatRequest::default();
        for effect in effects {
            match effect {
                Effect::TakeSeat { name, grace } => seat.takes = Some((name, grace)),
                Effect::LeaveSeat => seat = SeatRequest { leaves: true, takes: None },
                Effect::Push { event, payload } => {
                    let topic = topic.as_str();
                    self.send(audience, Outbound::Push { join_ref, topic, event: &event, payload: &payload });
                }
                Effect::Broadcast { event, payload, skip_self: true } => {
                    let (topic, except) = (topic.clone(), Except::Member(self.member.id));
                    self.node.pubsub.broadcast(Broadcast { topic, event, payload, except });
                }
                Effect::Reply { reply_ref, reply } => {
                    self.send_reply(audience, &Ref::from_json(reply_ref), &reply);
                }
                Effect::PushPresences => self.push_presences(audience),
                Effect::SetTick(period) => self.queue.set_tick(&self.node, topic, period),
                Effect::PublishState(state) => self.queue.publish_state(&self.node, topic, state),
                Effect::Broadcast { .. } | Effect::Publish { .. } | Effect::Send { .. } | Effect::Disconnect(_) => {
                    self.node.carry_out(effect, topic, || Sender::Member(Arc::downgrade(self)));
                }
                own => {
                    if let Some(state) = &mut state {
                        self.carry_out_own(own, state);
                    }
                }
            }
        }
        if let Some(state) = state {
            self.sit(seat, state);
        }
    }

    /// The effects that concern what a member has at the host.
    fn carry_out_own(self: &Arc<Self>, effect: Effect, state: &mut State) {
        let (topic, id, presence) = (&self.member.topic, self.member.id, &self.node.presence);
        match effect {
            Effect::SendSelf { event, payload } => {
                let topic = topic.clone();
                self.post(MemberEvent::Info(Message { source: Source::Own, topic, event, payload }));
            }
            Effect::SendAfter { timer, after, event, payload } => {
                state.timers.start(self, timer, after, (event, payload));
            }
            Effect::Cancel(timer) => state.timers.cancel(timer),
            Effect::Subscribe(topic) => state.subscriptions.push(self.listen(&topic)),
            Effect::Unsubscribe(topic) => state.subscriptions.retain(|subscription| *subscription.topic() != topic),
            // The record has refused what the list of presences would refuse.
            Effect::Track { key, meta } => {
                let tracked = presence.track(topic, id, &key, &meta).is_ok();
                state.presences.extend(tracked.then_some(key));
            }
            Effect::UpdatePresence { key, meta } => drop(presence.update(topic, id, &key, &meta)),
            Effect::Untrack(key) => {
                state.presences.retain(|other| *other != key);
                presence.untrack(topic, id, &key);
            }
            _ => {}
        }
    }

    /// Does what a call wants with the member's seat.
    fn sit(&self, request: SeatRequest, state: &mut State) {
        if request.leaves {
            self.vacate(state.seat.take(), Departure::Leaves);
        }
        let Some((name, grace)) = request.takes else { return };
        if state.seat.as_deref().is_some_and(|seat| *seat != name) {
            self.vacate(state.seat.take(), Departure::Leaves);
        }
        self.queue.take_seat((&self.node, &self.member.topic), (&name, self.member.id), grace);
        state.seat = Some(Box::new(name));
    }

    /// Rises from a seat.
    pub(super) fn vacate(&self, seat: Option<Box<ByteString>>, departure: Departure) {
        if let Some(name) = seat {
            self.queue.rise((&self.node, &self.member.topic), (&name, self.member.id), departure);
        }
    }

    /// Sends the topic's presences, in their place among the diffs.
    fn push_presences(&self, audience: Option<&Audience>) {
        let (join_ref, topic) = (self.mark(), &self.member.topic);
        self.node.presence.show(topic, |payload| {
            let (topic, event) = (topic.as_str(), PRESENCE_STATE);
            self.send(audience, Outbound::Push { join_ref, topic, event, payload: &payload });
        });
    }

    pub(super) fn send_reply(&self, audience: Option<&Audience>, reference: &Ref, reply: &Reply) {
        let (join_ref, to) = (self.mark(), self.addressee());
        let Reply { status, payload } = reply;
        self.send(audience, Outbound::Reply { join_ref, reference, to, status, payload });
    }

    pub(super) fn send_close(&self, audience: Option<&Audience>) {
        self.send(audience, Outbound::Close { join_ref: self.mark(), topic: self.member.topic.as_str() });
    }

    pub(super) fn send_error(&self, audience: Option<&Audience>) {
        self.send(audience, Outbound::Error { join_ref: self.mark(), topic: self.member.topic.as_str() });
    }
}

/// There is no room for what a call asked for.
pub(super) fn overflow() -> Fault {
    let detail = "a queue that the effects go to is full (`limits.mailbox_from_elsewhere`, \
                  `limits.mailbox_bytes_from_elsewhere`)";
    Fault::new(FaultKind::Overflow, detail)
}
