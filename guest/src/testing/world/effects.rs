//! What the callbacks of a stage ask for, done.

use super::super::{Effect, Sent, Timer};
use super::presences::presence;
use super::{Came, World};
use crate::{Message, TimerId};

impl World {
    pub(super) fn carry_out(&mut self, id: u64, effect: Effect) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        let topic = role.topic.clone();
        match effect {
            Effect::Push(sent) => self.give(id, Came::Push(sent)),
            Effect::BroadcastFrom(sent) => self.broadcast(&topic, &sent, Some(id)),
            Effect::Reply(to, reply) => self.give(id, Came::Reply(to.0, reply)),
            Effect::PushPresence => {
                let state = self.facts.online.state(&topic);
                self.give(id, Came::Push(presence("presence_state", &state)));
            }
            elsewhere if elsewhere.needs_no_member() => self.carry_out_elsewhere(&topic, Some(id), elsewhere),
            // A member that has ended has nothing at the host any more.
            own if role.is_in => self.carry_out_own(id, topic, own),
            _ => {}
        }
    }

    /// The effects that concern what a member has at the host.
    fn carry_out_own(&mut self, id: u64, topic: String, effect: Effect) {
        let now = self.facts.now;
        let Some(role) = self.roles.get_mut(&id) else { return };
        match effect {
            Effect::SendSelf(Sent { event, payload }) => {
                self.wait(id, Message { source: "self".into(), topic, event, payload });
            }
            Effect::SendAfter(timer, after, sent) => {
                let due = now.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                role.holdings.next_timer = role.holdings.next_timer.max(timer.0 + 1);
                role.timers.push(Timer { id: timer, due, sent });
            }
            Effect::Cancel(TimerId(timer)) => role.timers.retain(|other| other.id.0 != timer),
            Effect::Subscribe(other) => role.hears.push(other),
            Effect::Unsubscribe(other) => role.hears.retain(|heard| *heard != other),
            Effect::Track(key, meta) => {
                self.tell_presences(&topic, |online| Some(online.track(&topic, id, &key, &meta)));
            }
            Effect::UpdatePresence(key, meta) => {
                self.tell_presences(&topic, |online| online.update(&topic, id, &key, &meta));
            }
            Effect::Untrack(key) => self.tell_presences(&topic, |online| online.untrack(&topic, id, &key)),
            Effect::TakeSeat(name, grace) => self.take_seat(id, name, grace),
            Effect::LeaveSeat => self.rise(id, true),
            _ => {}
        }
    }

    /// The effects that need no member.
    pub(super) fn carry_out_elsewhere(&mut self, own: &str, sender: Option<u64>, effect: Effect) {
        match effect {
            Effect::Broadcast(sent) => self.broadcast(own, &sent, None),
            Effect::Publish(topic, sent) => self.broadcast(&topic, &sent, None),
            Effect::PublishState(state) => self.publish_state(own, state),
            Effect::Tick(period) => self.set_beat(own, period),
            Effect::Disconnect(socket_id) => {
                self.disconnect(&socket_id);
            }
            Effect::Send(topic, sent) => self.post(topic, sent, sender),
            _ => {}
        }
    }
}

impl Effect {
    fn needs_no_member(&self) -> bool {
        matches!(
            self,
            Self::Broadcast(_)
                | Self::Publish(..)
                | Self::PublishState(_)
                | Self::Tick(_)
                | Self::Disconnect(_)
                | Self::Send(..)
        )
    }
}
