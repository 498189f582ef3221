//! Turns of a topic itself, without a member: `handle_message` and `handle_tick`.

use std::sync::Arc;

use super::Node;
use super::commit::overflow;
use super::fault_log::{Failed, FaultLine};
use super::invoke::{Evaluated, PluginCall, StateSnapshot, invoke};
use super::persist::{Persisted, RetryDeadline};
use super::topic_message::Sender;
use super::turn_queue::TurnQueue;
use crate::contract::{Answer, Effect, Fault, Outcome, Reply, TopicCall, TopicCallback};
use crate::protocol::Topic;
use crate::routes::Route;

impl Node {
    /// One callback of a topic, and its commit. Gives its answer, if it has one.
    pub(super) async fn topic_turn(
        self: &Arc<Self>,
        queue: &Arc<TurnQueue>,
        topic: &Topic,
        route: &Arc<Route>,
        callback: TopicCallback,
    ) -> Result<Option<Reply>, Fault> {
        queue.open_room(self, topic, route).await?;
        queue.settle_room(self, topic);
        let states = StateSnapshot { assigns: None, room: queue.saved_room() };
        let mut call = PluginCall::Topic(TopicCall { topic: topic.clone(), room: None, callback });
        let deadline = RetryDeadline::new();
        loop {
            let mut evaluated = invoke(route, &mut call, &states).await?;
            let effects = &evaluated.outcome.effects;
            let own = self.pubsub.audience(topic.as_str());
            let has_room = own.is_none_or(|audience| audience.has_room(effects.len()));
            if !has_room || !self.has_room_for(effects) {
                return Err(overflow());
            }
            match self.persist((queue, topic), route, &mut evaluated).await? {
                Persisted::Done => return Ok(self.commit_topic(queue, topic, evaluated)),
                Persisted::Conflict => deadline.check()?,
            }
        }
    }

    fn commit_topic(self: &Arc<Self>, queue: &Arc<TurnQueue>, topic: &Topic, evaluated: Evaluated) -> Option<Reply> {
        let Evaluated { outcome: Outcome { effects, answer, .. }, room, is_room_stored, .. } = evaluated;
        if let Some(room) = room {
            queue.save_room(room, is_room_stored);
        }
        for effect in effects {
            match effect {
                Effect::SetTick(period) => queue.set_tick(self, topic, period),
                Effect::PublishState(state) => queue.publish_state(self, topic, state),
                effect => self.carry_out(effect, topic, || Sender::Topic),
            }
        }
        match answer {
            Answer::Reply(reply) => Some(reply),
            _ => None,
        }
    }

    pub(super) fn log_topic_fault(&self, route: &Route, topic: &Topic, failed: Failed<'_>, fault: &Fault) {
        self.count_fault();
        FaultLine { route: Some(route), topic, member: None, failed, fault, answered_by: None }.write();
    }
}
