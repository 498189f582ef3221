//! Joins: the first turn of a membership.

use std::sync::Arc;

use super::commit::overflow;
use super::fault_log::Failed;
use super::invoke::{Evaluated, PluginCall, StateSnapshot, invoke};
use super::member::{EndedMember, Phase};
use super::persist::{Persisted, RetryDeadline};
use super::{Channel, MemberEvent};
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
        match self.call_join(&route, params).await {
            Ok(Evaluated { outcome: Outcome { answer: Answer::Refuse(response), .. }, .. }) => {
                if self.finish().is_some() {
                    self.reply(self.join_ref(), reference, "error", &response);
                }
            }
            Ok(evaluated) => {
                // Its client went while the store was written: it has joined, and gone.
                if let Some(ended) = self.admit(&route, evaluated, reference) {
                    self.terminate(ended, Ending::Closed).await;
                }
            }
            Err(fault) => {
                self.log(Some(&route), Failed::in_callback("join"), &fault);
                self.refuse_crashed(reference);
            }
        }
    }

    /// Asks the plugin, and stores what it wants stored if it lets the client in.
    async fn call_join(&self, route: &Arc<Route>, params: Payload) -> Result<Evaluated, Fault> {
        let topic = &self.member.topic;
        self.queue.open_room(&self.node, topic, route).await?;
        self.settle_room();
        let states = StateSnapshot { assigns: None, room: self.saved_room() };
        let (call, _) = self.call(&mut self.lock(), Callback::Join(params));
        let mut call = PluginCall::Member(call);
        let deadline = RetryDeadline::new();
        loop {
            let mut evaluated = invoke(route, &mut call, &states).await?;
            match &evaluated.outcome.answer {
                Answer::Refuse(_) => return Ok(evaluated),
                Answer::Admit(_) => {}
                _ => return Err(Fault::failed("a join is admitted or refused")),
            }
            if !self.has_room_for(None, &evaluated.outcome.effects, 0) {
                return Err(overflow());
            }
            if self.lock().phase != Phase::Joining {
                return Ok(evaluated);
            }
            match self.node.persist((&self.queue, topic), route, &mut evaluated).await? {
                Persisted::Done => return Ok(evaluated),
                Persisted::Conflict => deadline.check()?,
            }
        }
    }

    fn refuse_crashed(&self, reference: &Ref) {
        if self.finish().is_some() {
            self.reply(self.join_ref(), reference, "error", &Payload::reason("join crashed"));
        }
    }

    /// Commits a join: reply, subscription, effects. Where the client went while the store was written, it gives what remains.
    fn admit(self: &Arc<Self>, route: &Arc<Route>, evaluated: Evaluated, reference: &Ref) -> Option<EndedMember> {
        let Evaluated { outcome, assigns, room, is_room_stored, is_stored } = evaluated;
        let Answer::Admit(response) = outcome.answer else { return None };
        let mut state = self.lock();
        if state.phase != Phase::Joining {
            if !is_stored {
                return None;
            }
            drop(state);
            room.into_iter().for_each(|room| self.queue.save_room(room, is_room_stored));
            self.carry_out(outcome.effects, None, None);
            let (assigns, plugin) = (assigns.unwrap_or_default(), Some(Arc::clone(&route.plugin)));
            return Some(EndedMember { assigns, plugin, audience: None, seat: None });
        }
        state.phase = Phase::Joined;
        state.assigns = assigns.unwrap_or_default();
        state.plugin = Some(Arc::clone(&route.plugin));
        self.roll_back_late(&state);
        if let Some(room) = room {
            self.queue.save_room(room, is_room_stored);
        }
        // The join's own reply repeats the join ref as it was sent, also null; later frames carry the mark.
        let (join_ref, to) = (self.join_ref(), self.addressee());
        let reply = Outbound::Reply { join_ref, reference, to, status: "ok", payload: &response };
        let subscription = self.subscribe(reply);
        let audience = Arc::clone(subscription.audience());
        self.queue.show_state(&self.node, &self.member.topic, &subscription);
        state.subscription = Some(subscription);
        self.carry_out(outcome.effects, Some(&audience), Some(&mut state));
        drop(state);
        // Its route may have gone since it was asked, and whoever looked through the topic then didn't find it.
        if self.route(Some(&route.plugin)).is_none() {
            self.post_ending(MemberEvent::Unrouted);
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
