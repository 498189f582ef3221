//! What the callbacks of a stage ask for, done.

use super::super::{Effect, Sent, Timer};
use super::fanout::presence;
use super::{Came, World};
use crate::{Message, Payload, Reply, TimerId, Value};

impl World {
    pub(super) fn carry_out(&mut self, id: u64, effect: Effect) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        let topic = role.topic.clone();
        match effect {
            Effect::Push(sent) => self.give(id, Came::Push(sent)),
            Effect::BroadcastFrom(sent) => self.broadcast(&topic, &sent, Some(id)),
            Effect::Reply(to, reply) => self.give(id, Came::Reply(Some(to.0), reply)),
            Effect::SendSelf(Sent { event, payload }) => {
                self.wait(id, Message { source: "self".into(), topic, event, payload });
            }
            Effect::SendAfter(timer, after, sent) => {
                let due = self.facts.now.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                role.holdings.next_timer = role.holdings.next_timer.max(timer.0 + 1);
                role.timers.push(Timer { id: timer, due, sent });
            }
            Effect::Cancel(TimerId(timer)) => role.timers.retain(|other| other.id.0 != timer),
            Effect::Track(key, meta) => {
                self.tell_presences(&topic, |online| Some(online.track(&topic, id, &key, &meta)));
            }
            Effect::UpdatePresence(key, meta) => {
                self.tell_presences(&topic, |online| online.update(&topic, id, &key, &meta));
            }
            Effect::Untrack(key) => self.tell_presences(&topic, |online| online.untrack(&topic, id, &key)),
            Effect::PushPresence => {
                let state = self.facts.online.state(&topic);
                self.give(id, Came::Push(presence("presence_state", &state)));
            }
            Effect::TakeSeat(name, grace) => self.take_seat(id, &name, grace),
            Effect::LeaveSeat => self.rise(id, true),
            // What it hears is among its holdings.
            Effect::Subscribe(_) | Effect::Unsubscribe(_) => {}
            elsewhere => self.carry_out_elsewhere(&topic, Some(id), elsewhere),
        }
    }

    /// The effects that need no member.
    pub(super) fn carry_out_elsewhere(&mut self, own: &str, sender: Option<u64>, effect: Effect) {
        match effect {
            Effect::Broadcast(sent) => self.broadcast(own, &sent, None),
            Effect::Publish(topic, sent) => self.broadcast(&topic, &sent, None),
            Effect::PublishState(state) => self.publish_state(own, state),
            Effect::Tick(period) => self.set_beat(own, period),
            Effect::Disconnect(socket_id) => self.disconnect(&socket_id),
            Effect::Send(topic, sent) => {
                let event = sent.event.clone();
                let answer = self.send(&topic, sent);
                if let (Ok(Some(reply)), Some(id)) = (answer, sender) {
                    let payload = as_message(reply);
                    self.wait(id, Message { source: "answer".into(), topic, event, payload });
                }
            }
            _ => {}
        }
    }
}

/// A reply as `handle_info` gets it.
fn as_message(reply: Reply) -> Payload {
    match reply.payload {
        Payload::Json(response) => {
            let status = Value::from(reply.status);
            Payload::Json(format!("{{\"status\":{status},\"response\":{response}}}"))
        }
        bytes @ Payload::Binary(_) => bytes,
    }
}
