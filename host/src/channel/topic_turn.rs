//! Turns of a topic itself, without a member: `handle_message` and `handle_tick`.

use std::sync::Arc;

use super::Node;
use super::commit::overflow;
use super::consult::{Answered, Question, Standing, consult};
use super::fault_log::{Failed, FaultLine};
use super::keep::{Kept, Patience};
use super::letter::Sender;
use super::line::Line;
use crate::contract::{Answer, Effect, Fault, Outcome, Reply, TopicCall, TopicCallback};
use crate::protocol::Topic;
use crate::routes::Route;

impl Node {
    /// One callback of a topic, and its commit. Gives its answer, if it has one.
    pub(super) async fn topic_turn(
        self: &Arc<Self>,
        line: &Arc<Line>,
        topic: &Topic,
        route: &Arc<Route>,
        callback: TopicCallback,
    ) -> Result<Option<Reply>, Fault> {
        line.open_room(self, topic, route).await?;
        line.settle_room(self, topic);
        let standing = Standing { assigns: None, room: line.saved_room() };
        let mut question = Question::Topic(TopicCall { topic: topic.clone(), room: None, callback });
        let patience = Patience::new();
        loop {
            let mut answered = consult(route, &mut question, &standing).await?;
            let effects = &answered.outcome.effects;
            let own = self.pubsub.audience(topic.as_str());
            let has_room = own.is_none_or(|audience| audience.has_room(effects.len()));
            if !has_room || !self.has_room_for(effects) {
                return Err(overflow());
            }
            match self.keep((line, topic), route, &mut answered).await? {
                Kept::Done => return Ok(self.commit_topic(line, topic, answered)),
                Kept::Overtaken => patience.go_on()?,
            }
        }
    }

    fn commit_topic(self: &Arc<Self>, line: &Arc<Line>, topic: &Topic, answered: Answered) -> Option<Reply> {
        let Answered { outcome: Outcome { effects, answer, .. }, room, is_room_stored, .. } = answered;
        if let Some(room) = room {
            line.save_room(room, is_room_stored);
        }
        for effect in effects {
            match effect {
                Effect::Beat(period) => line.set_beat(self, topic, period),
                Effect::PublishState(state) => line.publish_state(self, topic, state),
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
