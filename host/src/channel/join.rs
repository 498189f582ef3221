//! Joins: the first turn of a membership.

use std::sync::Arc;

use super::commit::overflow;
use super::consult::{Answered, Question, Standing, consult};
use super::fault_log::Failed;
use super::keep::{Kept, Patience};
use super::membership::{Phase, Remains};
use super::{Channel, Entry};
use crate::contract::{Answer, Callback, Ending, Fault, Outcome};
use crate::protocol::{Outbound, Payload, Ref};
use crate::routes::Route;

impl Channel {
    /// A join's turn.
    pub(super) async fn join(self: &Arc<Self>, params: Payload, reference: &Ref) {
        if self.lock().phase != Phase::Joining {
            return;
        }
        let Some(route) = self.route(None) else {
            self.finish();
            // As for a topic that nothing matches: the channel never was.
            return self.reply(&Ref::NULL, reference, "error", &Payload::reason("unmatched topic"));
        };
        match self.ask_to_join(&route, params).await {
            Ok(Answered { outcome: Outcome { answer: Answer::Refuse(response), .. }, .. }) => {
                if self.finish().is_some() {
                    self.reply(self.join_ref(), reference, "error", &response);
                }
            }
            Ok(answered) => {
                // Its client went while the store was written: it has joined, and gone.
                if let Some(remains) = self.admit(&route, answered, reference) {
                    self.terminate(remains, Ending::Closed).await;
                }
            }
            Err(fault) => {
                self.log(Some(&route), Failed::in_callback("join"), &fault);
                self.refuse_crashed(reference);
            }
        }
    }

    /// Asks the plugin, and stores what it wants stored if it lets the client in.
    async fn ask_to_join(&self, route: &Arc<Route>, params: Payload) -> Result<Answered, Fault> {
        let topic = &self.member.topic;
        self.line.open_room(&self.node, topic, route).await?;
        self.settle_room();
        let standing = Standing { assigns: None, room: self.saved_room() };
        let (call, _) = self.call(&mut self.lock(), Callback::Join(params));
        let mut question = Question::Member(call);
        let patience = Patience::new();
        loop {
            let mut answered = consult(route, &mut question, &standing).await?;
            match &answered.outcome.answer {
                Answer::Refuse(_) => return Ok(answered),
                Answer::Admit(_) => {}
                _ => return Err(Fault::failed("a join is admitted or refused")),
            }
            if !self.has_room_for(None, &answered.outcome.effects, 0) {
                return Err(overflow());
            }
            if self.lock().phase != Phase::Joining {
                return Ok(answered);
            }
            match self.node.keep((&self.line, topic), route, &mut answered).await? {
                Kept::Done => return Ok(answered),
                Kept::Overtaken => patience.go_on()?,
            }
        }
    }

    fn refuse_crashed(&self, reference: &Ref) {
        if self.finish().is_some() {
            self.reply(self.join_ref(), reference, "error", &Payload::reason("join crashed"));
        }
    }

    /// Commits a join: reply, subscription, effects. Where the client went while the store was written, it gives what remains.
    fn admit(self: &Arc<Self>, route: &Arc<Route>, answered: Answered, reference: &Ref) -> Option<Remains> {
        let Answered { outcome, assigns, room, is_room_stored, is_stored } = answered;
        let Answer::Admit(response) = outcome.answer else { return None };
        let mut state = self.lock();
        if state.phase != Phase::Joining {
            if !is_stored {
                return None;
            }
            drop(state);
            room.into_iter().for_each(|room| self.line.save_room(room, is_room_stored));
            self.carry_out(outcome.effects, None, None);
            let (assigns, plugin) = (assigns.unwrap_or_default(), Some(Arc::clone(&route.plugin)));
            return Some(Remains { assigns, plugin, audience: None, seat: None });
        }
        state.phase = Phase::Joined;
        state.assigns = assigns.unwrap_or_default();
        state.plugin = Some(Arc::clone(&route.plugin));
        self.return_late(&state);
        if let Some(room) = room {
            self.line.save_room(room, is_room_stored);
        }
        // The join's own reply repeats the join ref as it was sent, also null; later frames carry the mark.
        let (join_ref, to) = (self.join_ref(), self.addressee());
        let reply = Outbound::Reply { join_ref, reference, to, status: "ok", payload: &response };
        let subscription = self.subscribe(reply);
        let audience = Arc::clone(subscription.audience());
        self.line.show_state(&self.node, &self.member.topic, &subscription);
        state.subscription = Some(subscription);
        self.carry_out(outcome.effects, Some(&audience), Some(&mut state));
        drop(state);
        // Its route may have gone since it was asked, and whoever looked through the topic then didn't find it.
        if self.route(Some(&route.plugin)).is_none() {
            self.doom(Entry::Unrouted);
        }
        tracing::debug!(
            topic = self.member.topic.as_str(),
            member = self.member.id,
            plugin = &*route.plugin,
            "channel_joined"
        );
        None
    }
}
