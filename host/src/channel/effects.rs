//! The effects that need no member, wherever they come from.

use std::sync::Arc;

use super::Node;
use super::topic_message::{Sender, TopicMessage};
use crate::contract::Effect;
use crate::protocol::Topic;
use crate::pubsub::{Broadcast, Except};

impl Node {
    /// Whether the queues that these effects go to have room for them. The topic's own is the caller's to ask.
    pub(super) fn has_room_for(&self, effects: &[Effect]) -> bool {
        let (mut messages, mut bytes) = (0, 0);
        for effect in effects {
            if let Effect::Send { event, payload, .. } = effect {
                messages += 1;
                bytes += event.len() + payload.len();
            }
        }
        effects.iter().all(|effect| match effect {
            Effect::Publish { topic, .. } => {
                self.pubsub.audience(topic.as_str()).is_none_or(|there| there.has_room(effects.len()))
            }
            Effect::Send { topic, .. } => {
                // To a topic that nobody serves nothing gets.
                let plugin = self.routes.find(topic.as_str()).map(|route| Arc::clone(&route.plugin));
                plugin.is_none_or(|plugin| self.in_flight.of(&plugin).has_room(messages, bytes))
                    && self.queues.has_room(topic, (messages, bytes), &self.limits)
            }
            _ => true,
        })
    }

    /// Does what was asked for by a callback about the topic `own`, if it needs no member.
    pub(super) fn carry_out(self: &Arc<Self>, effect: Effect, own: &Topic, sender: impl FnOnce() -> Sender) {
        match effect {
            Effect::Broadcast { event, payload, .. } => {
                let (topic, except) = (own.clone(), Except::Nobody);
                self.pubsub.broadcast(Broadcast { topic, event, payload, except });
            }
            Effect::Publish { topic, event, payload } => {
                self.pubsub.broadcast(Broadcast { topic, event, payload, except: Except::Nobody });
            }
            Effect::Send { topic, event, payload } => {
                self.post(TopicMessage {
                    node: Arc::clone(self),
                    topic,
                    event,
                    payload,
                    sender: sender(),
                    in_flight: None,
                });
            }
            Effect::Disconnect(id) => {
                self.pubsub.disconnect(&id);
            }
            // The record lets no other through where there is no member.
            _ => {}
        }
    }
}
