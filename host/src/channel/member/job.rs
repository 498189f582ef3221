//! A member's job, as its queue runs it.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::channel::MemberJob;
use super::members::after_turn;
use super::turn::take;
use crate::channel::turn::{Job, TurnGate};
use crate::protocol::Topic;
use crate::pubsub::Pressure;

impl Job for MemberJob {
    fn topic(&self) -> &Topic {
        &self.channel.member.topic
    }

    fn pressure(&self) -> &Arc<Pressure> {
        &self.channel.services().pubsub.pressure
    }

    fn gate(&self) -> &Arc<TurnGate> {
        &self.channel.services().gate
    }

    fn begin(&mut self) -> Option<BoxFuture<'static, ()>> {
        let event = self.event.take()?;
        self.channel.count_down(&event);
        take(&self.channel, event)
    }

    fn finish(&mut self) -> Option<BoxFuture<'static, ()>> {
        self.channel.topic_turns().and_then(after_turn)
    }
}
