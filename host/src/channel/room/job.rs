//! The jobs of a topic itself. `channel/topic_turn.rs` runs them.

use std::sync::Arc;

use bytestring::ByteString;
use tokio::sync::oneshot;

use super::info::{AnswerJob, InfoJob};
use super::topics::TopicTurns;
use crate::contract::Tick;

/// A turn of the topic itself, without a member. Messages are jobs of their own ([`MessageJob`](super::MessageJob)).
pub(in crate::channel) struct TopicJob {
    pub(in crate::channel) topic: Arc<TopicTurns>,
    /// None once its turn has begun.
    pub(in crate::channel) event: Option<TopicEvent>,
    /// Whether the room is reviewed after the turn.
    pub(in crate::channel) is_reviewed: bool,
}

/// The reason for the turn.
pub(in crate::channel) enum TopicEvent {
    /// The host tells the topic something. The dispatcher of jobs bounds their number.
    Info(Box<InfoJob>),
    /// The answer to a request by HTTP. The limits of the topic's requests and of the plugin's messages bound their number.
    Answer(Box<AnswerJob>),
    /// A tick. At most one waits.
    Tick(Tick),
    /// A seat has changed, or its grace period may be over. At most one waits for each seat.
    Seat(ByteString),
    /// Members lack published entries, and their outboxes may have room now. At most one waits.
    CatchUp,
    /// The room may have to end or to be rolled back. One is posted each time the last member has gone.
    Review,
    /// The same, with an answer to the sender when the turn is done.
    Settle(oneshot::Sender<()>),
    /// The host is stopping: the ticks end, and the room is stored.
    Persist(oneshot::Sender<()>),
}

/// Posts a job and drains the queue in place while nothing has to wait. It must not be called within a turn.
pub(in crate::channel::room) fn post_and_drain(topic: &Arc<TopicTurns>, event: TopicEvent) {
    if let Some(drain) = topic.post(Box::new(job(topic, event))) {
        drain.run_here();
    }
}

/// Posts a job and drains the queue in a task.
pub(in crate::channel) fn post_and_spawn(topic: &Arc<TopicTurns>, event: TopicEvent) {
    if let Some(drain) = topic.post(Box::new(job(topic, event))) {
        drain.spawn();
    }
}

fn job(topic: &Arc<TopicTurns>, event: TopicEvent) -> TopicJob {
    let is_reviewed = !matches!(event, TopicEvent::Persist(_));
    TopicJob { topic: Arc::clone(topic), event: Some(event), is_reviewed }
}
