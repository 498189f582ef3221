//! Turns: what happens to a channel, one entry at a time.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};

use bytestring::ByteString;
use futures_util::future::BoxFuture;

use super::Channel;
use super::fault_log::{Failed, FaultLine};
use super::invoke::{Evaluated, PluginCall, StateSnapshot, invoke};
use super::member::{EndedMember, Phase, State};
use super::persist::{Persisted, RetryDeadline};
use super::saved::{Saved, Settled};
use super::seats::Departure;
use crate::contract::{Callback, Ending, Fault, Message, Reply, Source, TimerId};
use crate::protocol::{Outbound, Payload, Ref, To};
use crate::routes::{OnFault, Route};

/// What waits for a channel.
#[derive(Debug)]
pub enum MemberEvent {
    /// The client asks to join.
    Join {
        /// What it sent along.
        params: Payload,
        /// The ref to answer.
        reference: Ref,
        /// The join ref of the channel that this one replaces, whose client is owed a `phx_close`.
        replaced: Option<Ref>,
    },
    /// The client sent an event.
    In {
        /// The event.
        event: ByteString,
        /// What it carries.
        payload: Payload,
        /// The ref to answer.
        reference: Ref,
    },
    /// The client leaves.
    Leave {
        /// The join ref that it came with.
        join_ref: Ref,
        /// The ref to answer.
        reference: Ref,
    },
    /// A message that no client sent.
    Info(Message),
    /// A timer has rung.
    Timer(TimerId),
    /// Something failed on its behalf, outside its turns.
    Fault {
        /// What failed.
        fault: Fault,
        /// The event whose `handle_out` it was, if it was one.
        intercepted: Option<ByteString>,
    },
    /// Its topic was closed for this fault, whatever its route says of faults.
    Closed(Fault),
    /// Its connection has ended, or the host is stopping.
    Gone(Ending),
    /// It was replaced in a topic with a room, and its `terminate` is still to run.
    Replaced,
    /// The build that took its state over, or its topic's, was taken back.
    RolledBack,
    /// No route serves it any more.
    Unrouted,
}

impl MemberEvent {
    /// Bytes that it holds while it waits. What a timer carries is counted with the timers.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Join { params, .. } => params.len(),
            Self::In { event, payload, .. } => event.len() + payload.len(),
            Self::Info(message) => message.event.len() + message.payload.len(),
            Self::Leave { .. }
            | Self::Timer(_)
            | Self::Fault { .. }
            | Self::Closed(_)
            | Self::Gone(_)
            | Self::Replaced
            | Self::RolledBack
            | Self::Unrouted => 0,
        }
    }
}

impl Channel {
    /// Takes one turn, as far as nothing has to wait. Gives the rest of it, if there may be one.
    pub(super) fn take(self: &Arc<Self>, member_event: MemberEvent) -> Option<BoxFuture<'static, ()>> {
        // A panic in it must not leave the line standing still.
        match catch_unwind(AssertUnwindSafe(|| self.turn(member_event))) {
            Ok(Some(turning)) => return Some(turning),
            Ok(None) => {}
            Err(_) => self.panicked(),
        }
        self.count_out();
        None
    }

    fn turn(self: &Arc<Self>, member_event: MemberEvent) -> Option<BoxFuture<'static, ()>> {
        match member_event {
            MemberEvent::In { event, payload, reference } => self.handle_in(event, payload, reference),
            MemberEvent::Info(message) => self.handle_info(message),
            MemberEvent::Timer(timer) => {
                let (event, payload) = self.lock().timers.take(timer)?;
                let topic = self.member.topic.clone();
                self.handle_info(Message { source: Source::Own, topic, event, payload })
            }
            MemberEvent::Unrouted => {
                self.unrouted();
                None
            }
            once => Some(self.guarded(Arc::clone(self).turn_once(once))),
        }
    }

    /// The turns that a member has once in its life, if at all.
    async fn turn_once(self: Arc<Self>, member_event: MemberEvent) {
        match member_event {
            MemberEvent::Join { params, reference, replaced } => {
                self.join(params, &reference).await;
                if let Some(join_ref) = &replaced {
                    self.send(None, Outbound::Close { join_ref, topic: self.member.topic.as_str() });
                }
            }
            MemberEvent::Leave { join_ref, reference } => self.leave(&join_ref, &reference).await,
            MemberEvent::Fault { fault, intercepted } => self.fault(fault, intercepted).await,
            MemberEvent::Closed(fault) => self.end_with_error(Ending::Fault(fault.kind)).await,
            MemberEvent::Gone(ending) => {
                if let Some(ended) = self.finish() {
                    self.terminate(ended, ending).await;
                }
            }
            MemberEvent::Replaced => {
                if let Some(ended) = self.take_replaced() {
                    self.terminate(ended, Ending::Replaced).await;
                }
            }
            MemberEvent::RolledBack => self.end_with_error(Ending::TakenBack).await,
            MemberEvent::In { .. } | MemberEvent::Info(_) | MemberEvent::Timer(_) | MemberEvent::Unrouted => {}
        }
    }

    fn handle_in(
        self: &Arc<Self>,
        event: ByteString,
        payload: Payload,
        reference: Ref,
    ) -> Option<BoxFuture<'static, ()>> {
        let state = self.lock();
        match state.phase {
            Phase::Joined => {
                let reply_ref = (!reference.is_null()).then(|| reference.to_json());
                self.take_turn(state, Callback::In { event, payload, reply_ref }, Some(reference))
            }
            Phase::Ended => {
                drop(state);
                self.reply(&Ref::NULL, &reference, "error", &Payload::reason("unmatched topic"));
                None
            }
            Phase::Joining | Phase::Replaced => None,
        }
    }

    fn handle_info(self: &Arc<Self>, message: Message) -> Option<BoxFuture<'static, ()>> {
        let state = self.lock();
        if state.phase == Phase::Joined { self.take_turn(state, Callback::Info(message), None) } else { None }
    }

    /// One callback of a member that is in, and its commit.
    fn take_turn(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        callback: Callback,
        reference: Option<Ref>,
    ) -> Option<BoxFuture<'static, ()>> {
        let (call, assigns) = self.call(&mut state, callback);
        let route = self.route(state.plugin.as_ref());
        drop(state);
        let Some(route) = route else {
            self.unrouted();
            return None;
        };
        let channel = Arc::clone(self);
        if self.settle_room() || assigns.must_roll_back() {
            return Some(self.guarded(async move { channel.end_with_error(Ending::TakenBack).await }));
        }
        Some(self.guarded(channel.call_and_commit(route, PluginCall::Member(call), assigns, reference)))
    }

    /// Asks until what it has read of the store is still so at its commit. What few turns come to is put apart, so that the
    /// others needn't carry the room for it.
    fn call_and_commit(
        self: Arc<Self>,
        route: Arc<Route>,
        mut call: PluginCall,
        assigns: Saved,
        reference: Option<Ref>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut states = StateSnapshot { assigns: Some(assigns), room: None };
        let mut deadline = None;
        async move {
            if let Err(fault) = self.open_room(&route).await {
                return Box::pin(self.end_or_keep_member(&route, &call, fault, reference.as_ref())).await;
            }
            states.room = self.saved_room();
            loop {
                let asked = invoke(&route, &mut call, &states).await;
                let Some(rest) = self.conclude(&route, &call, asked, reference.as_ref(), &mut deadline) else {
                    return;
                };
                if rest.await == ControlFlow::Break(()) {
                    return;
                }
            }
        }
    }

    /// Commits what was answered, as far as nothing has to wait. Gives the rest of it, if there is one, and what that gives says
    /// whether to ask again.
    fn conclude<'a>(
        self: &'a Arc<Self>,
        route: &'a Arc<Route>,
        call: &'a PluginCall,
        asked: Result<Evaluated, Fault>,
        reference: Option<&'a Ref>,
        deadline: &'a mut Option<RetryDeadline>,
    ) -> Option<Pin<Box<dyn Future<Output = ControlFlow<()>> + Send + 'a>>> {
        let committed = match asked {
            Ok(evaluated) if self.node.needs_persisting(route, &evaluated) => {
                return Some(Box::pin(async move {
                    let committed = self.persist_and_commit(route, evaluated, reference, deadline).await;
                    match committed {
                        Ok(ControlFlow::Continue(())) => return ControlFlow::Continue(()),
                        Ok(ControlFlow::Break(None)) => {}
                        Ok(ControlFlow::Break(Some((ended, ending)))) => self.terminate(ended, ending).await,
                        Err(fault) => self.end_or_keep_member(route, call, fault, reference).await,
                    }
                    ControlFlow::Break(())
                }));
            }
            Ok(evaluated) => self.commit_if_in(evaluated, reference),
            Err(fault) => Err(fault),
        };
        match committed {
            Ok(None) => None,
            Ok(Some((ended, ending))) => Some(Box::pin(async move {
                self.terminate(ended, ending).await;
                ControlFlow::Break(())
            })),
            Err(fault) => Some(Box::pin(async move {
                self.end_or_keep_member(route, call, fault, reference).await;
                ControlFlow::Break(())
            })),
        }
    }

    /// Opens the topic's room, if its route has one.
    async fn open_room(&self, route: &Route) -> Result<(), Fault> {
        if route.spec.has_room() {
            return Box::pin(self.queue.open_room(&self.node, &self.member.topic, route)).await;
        }
        Ok(())
    }

    /// Stores what is to be stored of a call, and commits the rest, unless it was overtaken and is to run again.
    async fn persist_and_commit(
        self: &Arc<Self>,
        route: &Route,
        mut evaluated: Evaluated,
        reference: Option<&Ref>,
        deadline: &mut Option<RetryDeadline>,
    ) -> Result<ControlFlow<Option<(EndedMember, Ending)>>, Fault> {
        if !self.may_commit(&self.lock(), &evaluated.outcome, reference)? {
            return Ok(ControlFlow::Break(None));
        }
        match self.node.persist((&self.queue, &self.member.topic), route, &mut evaluated).await? {
            Persisted::Done => Ok(ControlFlow::Break(self.commit(self.lock(), evaluated, reference))),
            Persisted::Conflict => deadline.get_or_insert_with(RetryDeadline::new).check().map(ControlFlow::Continue),
        }
    }

    /// A callback has failed.
    async fn end_or_keep_member(
        self: &Arc<Self>,
        route: &Arc<Route>,
        call: &PluginCall,
        fault: Fault,
        to: Option<&Ref>,
    ) {
        if route.spec.on_fault == OnFault::Keep {
            self.log(Some(route), call.failed(), &fault);
            return self.answer_fault(to);
        }
        self.fail(Some(route), call.failed(), fault).await;
    }

    /// Something failed on its behalf, outside its turns.
    async fn fault(self: &Arc<Self>, fault: Fault, intercepted: Option<ByteString>) {
        self.fault_handled();
        let (phase, plugin) = {
            let state = self.lock();
            (state.phase, state.plugin.clone())
        };
        // One that has ended in the meantime has nothing more to lose.
        if phase != Phase::Joined {
            return;
        }
        let callback = if intercepted.is_some() { "handle_out" } else { "" };
        let failed = Failed { event: intercepted.as_deref(), ..Failed::in_callback(callback) };
        let route = self.route(plugin.as_ref());
        if route.as_ref().is_some_and(|route| route.spec.on_fault == OnFault::Keep) {
            return self.log(route.as_ref(), failed, &fault);
        }
        self.fail(route.as_ref(), failed, fault).await;
    }

    /// What the client of a member that lives on is told of the message that it sent.
    fn answer_fault(&self, reference: Option<&Ref>) {
        let Some(reference) = reference else { return };
        let audience = self.lock().subscription.as_ref().map(|subscription| Arc::clone(subscription.audience()));
        let reply = Reply { status: "error".into(), payload: Payload::reason("channel_crash") };
        self.send_reply(audience.as_deref(), reference, &reply);
    }

    async fn leave(self: &Arc<Self>, join_ref: &Ref, reference: &Ref) {
        let Some(ended) = self.finish() else {
            // A leave of a topic that isn't joined is well, too.
            return self.reply(join_ref, reference, "ok", &Payload::EMPTY);
        };
        let audience = ended.audience.clone();
        let (to, payload) = (self.addressee(), &Payload::EMPTY);
        let reply = Outbound::Reply { join_ref: self.mark(), reference, to, status: "ok", payload };
        self.send(audience.as_deref(), reply);
        self.send_close(audience.as_deref());
        self.terminate(ended, Ending::Left).await;
    }

    async fn fail(self: &Arc<Self>, route: Option<&Arc<Route>>, failed: Failed<'_>, fault: Fault) {
        self.log(route, failed, &fault);
        self.end_with_error(Ending::Fault(fault.kind)).await;
    }

    /// Ends it so that its client joins again: `terminate` with the last good assigns, then `phx_error`.
    async fn end_with_error(self: &Arc<Self>, ending: Ending) {
        let Some(ended) = self.finish() else { return };
        let audience = ended.audience.clone();
        self.terminate(ended, ending).await;
        self.send_error(audience.as_deref());
    }

    fn unrouted(&self) {
        if let Some(ended) = self.finish() {
            self.vacate(ended.seat, Departure::Drops);
            self.send_error(ended.audience.as_deref());
        }
    }

    /// The last callback. What it asks for is done, as far as a member that is gone can have it done.
    pub(super) async fn terminate(self: &Arc<Self>, ended: EndedMember, ending: Ending) {
        let EndedMember { mut assigns, plugin, audience, seat } = ended;
        self.vacate(seat, Departure::from(&ending));
        let Some(route) = self.route(plugin.as_ref()) else { return };
        match assigns.settle(&self.member.topic) {
            Settled::Unchanged => {}
            Settled::RolledBack(Some(former)) => assigns = former,
            // It only came to be under a build that is gone, and no other knows what to make of it.
            Settled::RolledBack(None) => return,
        }
        // It may have ended since, where the member was replaced.
        if let Err(fault) = self.queue.open_room(&self.node, &self.member.topic, &route).await {
            return self.log(Some(&route), Failed::in_callback("terminate"), &fault);
        }
        self.settle_room();
        let states = StateSnapshot { assigns: Some(assigns), room: self.saved_room() };
        let (call, _) = self.call(&mut self.lock(), Callback::Terminate(ending));
        let mut call = PluginCall::Member(call);
        // Once in a member's life, so that its other turns needn't carry the room for it.
        match Box::pin(self.call_and_persist(&route, &mut call, &states)).await {
            Ok(Evaluated { outcome, room, is_room_stored, .. }) => {
                if let Some(room) = room {
                    self.queue.save_room(room, is_room_stored);
                }
                self.carry_out(outcome.effects, audience.as_deref(), None);
            }
            Err(fault) => self.log(Some(&route), Failed::in_callback("terminate"), &fault),
        }
    }

    /// Asks, and stores what is to be stored; nothing stands in the way of the rest.
    async fn call_and_persist(
        &self,
        route: &Arc<Route>,
        call: &mut PluginCall,
        states: &StateSnapshot,
    ) -> Result<Evaluated, Fault> {
        let deadline = RetryDeadline::new();
        loop {
            let mut evaluated = invoke(route, call, states).await?;
            match self.node.persist((&self.queue, &self.member.topic), route, &mut evaluated).await? {
                Persisted::Done => return Ok(evaluated),
                Persisted::Conflict => deadline.check()?,
            }
        }
    }

    pub(super) fn reply(&self, join_ref: &Ref, reference: &Ref, status: &str, payload: &Payload) {
        let to = self.addressee();
        self.send(None, Outbound::Reply { join_ref, reference, to, status, payload });
    }

    pub(super) fn addressee(&self) -> To<'_> {
        To::Topic(self.member.topic.as_str())
    }

    pub(super) fn log(&self, route: Option<&Arc<Route>>, failed: Failed<'_>, fault: &Fault) {
        self.node.count_fault();
        let (route, member) = (route.map(|route| &**route), Some(&*self.member));
        FaultLine { route, topic: &self.member.topic, member, failed, fault, answered_by: None }.write();
    }
}
