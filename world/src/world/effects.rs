//! Effects, carried out.

use std::time::Duration;

use bennu_semantics::{Departure, Effect, Message, SeatRequest, Source, Topic};
use bytestring::ByteString;

use super::presences::presence;
use super::{Came, World};
use crate::{Callbacks, Sent, Timer};

impl<C: Callbacks> World<C> {
    /// Carries out the effects of a member's call in order, and then the call's request for the member's seat.
    pub(super) fn carry_out(&mut self, id: u64, effects: Vec<Effect>) {
        let mut seat = SeatRequest::default();
        for effect in effects {
            match effect {
                Effect::TakeSeat { name, grace } => seat.take(name, grace),
                Effect::LeaveSeat => seat.leave(),
                effect => self.carry_out_one(id, effect),
            }
        }
        if self.roles.get(&id).is_some_and(|role| role.is_in) {
            self.sit(id, seat);
        }
    }

    fn carry_out_one(&mut self, id: u64, effect: Effect) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        let topic = role.topic.clone();
        match effect {
            Effect::Push { event, payload } => self.give(id, Came::Push(Sent { event, payload })),
            Effect::Broadcast { event, payload, skip_self: true } => {
                self.broadcast(topic.as_str(), &Sent { event, payload }, Some(id));
            }
            Effect::Reply { reply_ref, reply } => self.give(id, Came::Reply(reply_ref.to_string(), reply)),
            Effect::PushPresences => {
                let state = self.host.online.state(topic.as_str());
                self.give(id, Came::Push(presence("presence_state", &state)));
            }
            Effect::Broadcast { .. }
            | Effect::Publish { .. }
            | Effect::PublishState(_)
            | Effect::SetTick(_)
            | Effect::Disconnect(_)
            | Effect::Send { .. } => self.carry_out_elsewhere(&topic, Some(id), effect),
            // A member that has ended has no state at the host.
            own if role.is_in => self.carry_out_own(id, topic, own),
            _ => {}
        }
    }

    /// Carries out an effect on the member's own state at the host.
    fn carry_out_own(&mut self, id: u64, topic: Topic, effect: Effect) {
        let now = self.host.now;
        let Some(role) = self.roles.get_mut(&id) else { return };
        match effect {
            Effect::SendSelf { event, payload } => {
                self.wait(id, Message { source: Source::Own, topic, event, payload });
            }
            Effect::SendAfter { timer, after, event, payload } => {
                let due = now.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                role.next_timer = role.next_timer.max(timer + 1);
                role.timers.push(Timer { id: timer, due, sent: Sent { event, payload } });
            }
            Effect::Cancel(timer) => role.timers.retain(|other| other.id != timer),
            Effect::Subscribe(other) => role.hears.push(other),
            Effect::Unsubscribe(other) => role.hears.retain(|heard| *heard != other),
            Effect::Track { key, meta } => {
                role.presences.push(key.clone());
                self.tell_presences(&topic, |online, topic| Some(online.track(topic, id, &key, &meta)));
            }
            Effect::UpdatePresence { key, meta } => {
                self.tell_presences(&topic, |online, topic| online.update(topic, id, &key, &meta));
            }
            Effect::Untrack(key) => {
                role.presences.retain(|other| *other != key);
                self.tell_presences(&topic, |online, topic| online.untrack(topic, id, &key));
            }
            _ => {}
        }
    }

    /// Carries out an effect that needs no member.
    pub(super) fn carry_out_elsewhere(&mut self, own: &Topic, sender: Option<u64>, effect: Effect) {
        match effect {
            Effect::Broadcast { event, payload, .. } => {
                self.broadcast(own.as_str(), &Sent { event, payload }, None);
            }
            Effect::Publish { topic, event, payload } => {
                self.broadcast(topic.as_str(), &Sent { event, payload }, None);
            }
            Effect::PublishState(state) => self.publish_state(own, state),
            Effect::SetTick(period) => self.set_tick(own, period),
            Effect::Disconnect(socket_id) => {
                self.disconnect(&socket_id);
            }
            Effect::Send { topic, event, payload } => self.post(topic, Sent { event, payload }, sender),
            _ => {}
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
