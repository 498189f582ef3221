//! Effects, carried out.

use std::time::Duration;

use bennu_semantics::{Departure, Effect, Follows, Message, SeatRequest, Source, Topic, http_payload};
use bytestring::ByteString;

use super::presences::presence;
use super::{Received, World};
use crate::{Callbacks, Diff, HostFacts, Resources, Sent, Timer};

/// The work that is left after an effect on a member's own resources.
#[derive(Debug)]
pub enum Remainder {
    /// None.
    Nothing,
    /// The member's `handle_info` gets this message.
    Message(Source, Sent),
    /// The topic's members get this change of the presences, if there is one.
    Presences(Option<Diff>),
}

impl Resources {
    /// Carries out an effect on the resources of a member, and on its presences at the host. Other effects change
    /// nothing here.
    pub fn carry_out(&mut self, (id, topic): (u64, &Topic), host: &mut HostFacts, effect: &Effect) -> Remainder {
        let topic = topic.as_str();
        match effect {
            Effect::SendSelf { event, payload } => {
                return Remainder::Message(Source::Own, Sent { event: event.clone(), payload: payload.clone() });
            }
            Effect::SendAfter { milliseconds, event, payload } => {
                let sent = Sent { event: event.clone(), payload: payload.clone() };
                self.timers.push(Timer { id: self.next_timer, due: host.now.saturating_add(*milliseconds), sent });
                self.next_timer += 1;
            }
            // The server of a test answers at once.
            Effect::HttpRequest { key, request } => {
                let result = host.http.answer(&request.method, &request.url);
                return Remainder::Message(Source::Http, Sent { event: key.clone(), payload: http_payload(&result) });
            }
            Effect::Cancel { timer } => self.timers.retain(|other| other.id != *timer),
            Effect::Subscribe { topic } => self.topics.push(topic.clone()),
            Effect::Unsubscribe { topic } => self.topics.retain(|other| other != topic),
            Effect::Follow { .. } | Effect::Unfollow { .. } => Follows::carry_out(&mut self.follows, effect),
            Effect::Track { key, meta } => {
                self.presences.push(key.clone());
                return Remainder::Presences(Some(host.online.track(topic, id, key, meta)));
            }
            Effect::UpdatePresence { key, meta } => {
                return Remainder::Presences(host.online.update(topic, id, key, meta));
            }
            Effect::Untrack { key } => {
                self.presences.retain(|other| other != key);
                return Remainder::Presences(host.online.untrack(topic, id, key));
            }
            Effect::Push { .. }
            | Effect::Broadcast { .. }
            | Effect::BroadcastFrom { .. }
            | Effect::Publish { .. }
            | Effect::BroadcastDroppable { .. }
            | Effect::BroadcastFromDroppable { .. }
            | Effect::PublishDroppable { .. }
            | Effect::Send { .. }
            | Effect::SendMember { .. }
            | Effect::PushToSocket { .. }
            | Effect::Answer { .. }
            | Effect::AnswerLater
            | Effect::Schedule(_)
            | Effect::CancelSchedule { .. }
            | Effect::Disconnect { .. }
            | Effect::Reply { .. }
            | Effect::PublishState { .. }
            | Effect::TakeSeat { .. }
            | Effect::LeaveSeat
            | Effect::Tick { .. }
            | Effect::PushPresences => {}
        }
        Remainder::Nothing
    }
}

impl<C: Callbacks> World<C> {
    /// Carries out the effects of a call in order, and then its request for the member's seat. `member` is `None` in a
    /// topic's turn.
    pub(super) fn carry_out(&mut self, topic: &Topic, member: Option<u64>, effects: Vec<Effect>) {
        let mut seat = SeatRequest::default();
        for effect in effects {
            if let Some(id) = member {
                self.carry_out_own(id, &effect);
            }
            self.carry_out_one(topic, member, effect, &mut seat);
        }
        if let Some(id) = member.filter(|id| self.roles.get(id).is_some_and(|role| role.is_in)) {
            self.sit(id, seat);
        }
    }

    /// Carries out an effect on the member's own resources, unless the member has ended.
    fn carry_out_own(&mut self, id: u64, effect: &Effect) {
        let Some(role) = self.roles.get_mut(&id).filter(|role| role.is_in) else { return };
        let topic = role.topic.clone();
        match role.resources.carry_out((id, &topic), &mut self.host, effect) {
            Remainder::Nothing => {}
            Remainder::Message(source, Sent { event, payload }) => {
                self.wait(id, Message { source, topic, event, payload });
            }
            Remainder::Presences(diff) => self.tell_presences(&topic, diff),
        }
    }

    /// Carries out an effect on others, and on the member's client.
    fn carry_out_one(&mut self, own: &Topic, member: Option<u64>, effect: Effect, seat: &mut SeatRequest) {
        match effect {
            Effect::Push { event, payload } => self.give_own(member, Received::Push(Sent { event, payload })),
            Effect::Reply { reply_ref, reply } => self.give_own(member, Received::Reply(reply_ref.to_string(), reply)),
            Effect::PushPresences => {
                let state = self.host.online.state(own.as_str());
                self.give_own(member, Received::Push(presence("presence_state", &state)));
            }
            // No client of this host is slow, so each client gets every droppable message.
            Effect::Broadcast { event, payload } | Effect::BroadcastDroppable { event, payload, .. } => {
                self.broadcast(own.as_str(), &Sent { event, payload }, None);
            }
            Effect::BroadcastFrom { event, payload } | Effect::BroadcastFromDroppable { event, payload, .. } => {
                self.broadcast(own.as_str(), &Sent { event, payload }, member);
            }
            Effect::Publish { topic, event, payload } => {
                self.broadcast(topic.as_str(), &Sent { event, payload }, None);
            }
            Effect::PublishDroppable { topic, event, payload, .. } => {
                self.broadcast(topic.as_str(), &Sent { event: event.into(), payload }, None);
            }
            Effect::Send { topic, event, payload } => self.post(topic, Sent { event, payload }, member),
            Effect::SendMember { topic, member, event, payload } => {
                if self.has_member(&topic, member) {
                    let (source, event) = (Source::Member, event.into());
                    self.wait(member, Message { source, topic: own.clone(), event, payload });
                }
            }
            Effect::PushToSocket { topic, socket_id, event, payload } => {
                self.push_to_socket(&topic, &socket_id, &Sent { event: event.into(), payload });
            }
            Effect::Disconnect { socket_id } => {
                self.disconnect(&socket_id);
            }
            Effect::PublishState { state } => self.publish_state(own, state),
            Effect::Tick { milliseconds } => {
                let period = Duration::from_millis(milliseconds.into());
                self.set_tick(own, (!period.is_zero()).then_some(period));
            }
            Effect::TakeSeat { name, grace_ms } => seat.take(name, Duration::from_millis(grace_ms.into())),
            Effect::LeaveSeat => seat.leave(),
            Effect::Answer { answer_ref, reply } => {
                if let Ok(answer_ref) = answer_ref.parse() {
                    self.answer(answer_ref, Ok(Some(reply)));
                }
            }
            // The turn of the message has seen it.
            Effect::AnswerLater => {}
            // Of a topic's callback. A member's is among its own resources. The server of a test answers at once.
            Effect::HttpRequest { key, request } => {
                if member.is_none() {
                    let payload = http_payload(&self.host.http.answer(&request.method, &request.url));
                    self.wait_for_answer(own, Sent { event: key, payload });
                }
            }
            // They are stored with the writes of the call.
            Effect::Schedule(_) | Effect::CancelSchedule { .. } => {}
            // On the member's own resources.
            Effect::SendSelf { .. }
            | Effect::SendAfter { .. }
            | Effect::Cancel { .. }
            | Effect::Subscribe { .. }
            | Effect::Unsubscribe { .. }
            | Effect::Track { .. }
            | Effect::UpdatePresence { .. }
            | Effect::Untrack { .. }
            | Effect::Follow { .. }
            | Effect::Unfollow { .. } => {}
        }
    }

    /// Gives a message to the client of a call's member. The record refuses such an effect in a topic's turn.
    fn give_own(&mut self, member: Option<u64>, received: Received) {
        if let Some(id) = member {
            self.give(id, received);
        }
    }

    /// Carries out a call's request for its member's seat.
    fn sit(&mut self, id: u64, request: SeatRequest) {
        if request.leaves {
            self.rise(id, Departure::Leaves);
        }
        if let Some((name, grace)) = request.takes {
            self.take_seat(id, &name, grace);
        }
    }

    /// A member takes a seat, and loses its previous one.
    fn take_seat(&mut self, id: u64, name: &ByteString, grace: Duration) {
        if self.roles[&id].seat.as_ref().is_some_and(|other| other != name) {
            self.rise(id, Departure::Leaves);
        }
        let Some(role) = self.roles.get_mut(&id) else { return };
        let topic = role.topic.clone();
        role.seat = Some(name.clone());
        let change = self.room_mut(&topic).and_then(|room| room.seats.take(name, id, grace));
        self.tell_seat(&topic, name, change);
    }
}
