//! Turns: what happens to a channel, one entry at a time.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};

use bytestring::ByteString;

use super::Channel;
use super::consult::{Answered, Question, Standing, consult};
use super::fault_log::{Failed, FaultLine};
use super::keep::{Kept, Patience};
use super::membership::{Phase, Remains, State};
use super::saved::{Saved, Settled};
use super::seats::Rising;
use super::turning::Turning;
use crate::contract::{Callback, Ending, Fault, Message, Reply, Source, TimerId};
use crate::protocol::{Outbound, Payload, Ref, To};
use crate::routes::{OnFault, Route};

/// What waits for a channel.
#[derive(Debug)]
pub enum Entry {
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
    Ghost,
    /// The build that took its state over, or its topic's, was taken back.
    TakenBack,
    /// No route serves it any more.
    Unrouted,
}

impl Entry {
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
            | Self::Ghost
            | Self::TakenBack
            | Self::Unrouted => 0,
        }
    }
}

impl Channel {
    /// Takes one turn, as far as nothing has to wait. Gives the rest of it, if there may be one.
    pub(super) fn take(self: &Arc<Self>, entry: Entry) -> Option<Turning> {
        // A panic in it must not leave the line standing still.
        match catch_unwind(AssertUnwindSafe(|| self.turn(entry))) {
            Ok(Some(turning)) => return Some(turning),
            Ok(None) => {}
            Err(_) => self.panicked(),
        }
        self.count_out();
        None
    }

    fn turn(self: &Arc<Self>, entry: Entry) -> Option<Turning> {
        match entry {
            Entry::In { event, payload, reference } => self.handle_in(event, payload, reference),
            Entry::Info(message) => self.handle_info(message),
            Entry::Timer(timer) => {
                let (event, payload) = self.lock().timers.take(timer)?;
                let topic = self.member.topic.clone();
                self.handle_info(Message { source: Source::Own, topic, event, payload })
            }
            Entry::Unrouted => {
                self.unrouted();
                None
            }
            once => Some(self.guarded(Arc::clone(self).turn_once(once))),
        }
    }

    /// The turns that a member has once in its life, if at all.
    async fn turn_once(self: Arc<Self>, entry: Entry) {
        match entry {
            Entry::Join { params, reference, replaced } => {
                self.join(params, &reference).await;
                if let Some(join_ref) = &replaced {
                    self.send(None, Outbound::Close { join_ref, topic: self.member.topic.as_str() });
                }
            }
            Entry::Leave { join_ref, reference } => self.leave(&join_ref, &reference).await,
            Entry::Fault { fault, intercepted } => self.fault(fault, intercepted).await,
            Entry::Closed(fault) => self.end_with_error(Ending::Fault(fault.kind)).await,
            Entry::Gone(ending) => {
                if let Some(remains) = self.finish() {
                    self.terminate(remains, ending).await;
                }
            }
            Entry::Ghost => {
                if let Some(remains) = self.take_ghost() {
                    self.terminate(remains, Ending::Replaced).await;
                }
            }
            Entry::TakenBack => self.end_with_error(Ending::TakenBack).await,
            Entry::In { .. } | Entry::Info(_) | Entry::Timer(_) | Entry::Unrouted => {}
        }
    }

    fn handle_in(self: &Arc<Self>, event: ByteString, payload: Payload, reference: Ref) -> Option<Turning> {
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

    fn handle_info(self: &Arc<Self>, message: Message) -> Option<Turning> {
        let state = self.lock();
        if state.phase == Phase::Joined { self.take_turn(state, Callback::Info(message), None) } else { None }
    }

    /// One callback of a member that is in, and its commit.
    fn take_turn(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        callback: Callback,
        reference: Option<Ref>,
    ) -> Option<Turning> {
        let (call, assigns) = self.call(&mut state, callback);
        let route = self.route(state.plugin.as_ref());
        drop(state);
        let Some(route) = route else {
            self.unrouted();
            return None;
        };
        let channel = Arc::clone(self);
        if self.settle_room() || assigns.is_to_return() {
            return Some(self.guarded(async move { channel.end_with_error(Ending::TakenBack).await }));
        }
        Some(self.guarded(channel.ask_and_commit(route, Question::Member(call), assigns, reference)))
    }

    /// Asks until what it has read of the store is still so at its commit. What few turns come to is put apart, so that the
    /// others needn't carry the room for it.
    fn ask_and_commit(
        self: Arc<Self>,
        route: Arc<Route>,
        mut question: Question,
        assigns: Saved,
        reference: Option<Ref>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let mut standing = Standing { assigns: Some(assigns), room: None };
        let mut patience = None;
        async move {
            if let Err(fault) = self.open_room(&route).await {
                return Box::pin(self.end_or_keep(&route, &question, fault, reference.as_ref())).await;
            }
            standing.room = self.saved_room();
            loop {
                let asked = consult(&route, &mut question, &standing).await;
                let Some(rest) = self.conclude(&route, &question, asked, reference.as_ref(), &mut patience) else {
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
        question: &'a Question,
        asked: Result<Answered, Fault>,
        reference: Option<&'a Ref>,
        patience: &'a mut Option<Patience>,
    ) -> Option<Pin<Box<dyn Future<Output = ControlFlow<()>> + Send + 'a>>> {
        let committed = match asked {
            Ok(answered) if self.node.is_to_keep(route, &answered) => {
                return Some(Box::pin(async move {
                    let committed = self.keep_and_commit(route, answered, reference, patience).await;
                    match committed {
                        Ok(ControlFlow::Continue(())) => return ControlFlow::Continue(()),
                        Ok(ControlFlow::Break(None)) => {}
                        Ok(ControlFlow::Break(Some((remains, ending)))) => self.terminate(remains, ending).await,
                        Err(fault) => self.end_or_keep(route, question, fault, reference).await,
                    }
                    ControlFlow::Break(())
                }));
            }
            Ok(answered) => self.commit_if_in(answered, reference),
            Err(fault) => Err(fault),
        };
        match committed {
            Ok(None) => None,
            Ok(Some((remains, ending))) => Some(Box::pin(async move {
                self.terminate(remains, ending).await;
                ControlFlow::Break(())
            })),
            Err(fault) => Some(Box::pin(async move {
                self.end_or_keep(route, question, fault, reference).await;
                ControlFlow::Break(())
            })),
        }
    }

    /// Opens the topic's room, if its route has one.
    async fn open_room(&self, route: &Route) -> Result<(), Fault> {
        if route.spec.has_room() {
            return Box::pin(self.line.open_room(&self.node, &self.member.topic, route)).await;
        }
        Ok(())
    }

    /// Stores what is to be stored of a call, and commits the rest, unless it was overtaken and is to run again.
    async fn keep_and_commit(
        self: &Arc<Self>,
        route: &Route,
        mut answered: Answered,
        reference: Option<&Ref>,
        patience: &mut Option<Patience>,
    ) -> Result<ControlFlow<Option<(Remains, Ending)>>, Fault> {
        if !self.may_commit(&self.lock(), &answered.outcome, reference)? {
            return Ok(ControlFlow::Break(None));
        }
        match self.node.keep((&self.line, &self.member.topic), route, &mut answered).await? {
            Kept::Done => Ok(ControlFlow::Break(self.commit(self.lock(), answered, reference))),
            Kept::Overtaken => patience.get_or_insert_with(Patience::new).go_on().map(ControlFlow::Continue),
        }
    }

    /// A callback has failed.
    async fn end_or_keep(self: &Arc<Self>, route: &Arc<Route>, question: &Question, fault: Fault, to: Option<&Ref>) {
        if route.spec.on_fault == OnFault::Keep {
            self.log(Some(route), question.failed(), &fault);
            return self.answer_fault(to);
        }
        self.fail(Some(route), question.failed(), fault).await;
    }

    /// Something failed on its behalf, outside its turns.
    async fn fault(self: &Arc<Self>, fault: Fault, intercepted: Option<ByteString>) {
        self.undoom();
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
        let Some(remains) = self.finish() else {
            // A leave of a topic that isn't joined is well, too.
            return self.reply(join_ref, reference, "ok", &Payload::EMPTY);
        };
        let audience = remains.audience.clone();
        let (to, payload) = (self.addressee(), &Payload::EMPTY);
        let reply = Outbound::Reply { join_ref: self.mark(), reference, to, status: "ok", payload };
        self.send(audience.as_deref(), reply);
        self.send_close(audience.as_deref());
        self.terminate(remains, Ending::Left).await;
    }

    async fn fail(self: &Arc<Self>, route: Option<&Arc<Route>>, failed: Failed<'_>, fault: Fault) {
        self.log(route, failed, &fault);
        self.end_with_error(Ending::Fault(fault.kind)).await;
    }

    /// Ends it so that its client joins again: `terminate` with the last good assigns, then `phx_error`.
    async fn end_with_error(self: &Arc<Self>, ending: Ending) {
        let Some(remains) = self.finish() else { return };
        let audience = remains.audience.clone();
        self.terminate(remains, ending).await;
        self.send_error(audience.as_deref());
    }

    fn unrouted(&self) {
        if let Some(remains) = self.finish() {
            self.rise(remains.seat, Rising::Drops);
            self.send_error(remains.audience.as_deref());
        }
    }

    /// The last callback. What it asks for is done, as far as a member that is gone can have it done.
    pub(super) async fn terminate(self: &Arc<Self>, remains: Remains, ending: Ending) {
        let Remains { mut assigns, plugin, audience, seat } = remains;
        self.rise(seat, Rising::from(&ending));
        let Some(route) = self.route(plugin.as_ref()) else { return };
        match assigns.settle(&self.member.topic) {
            Settled::Stays => {}
            Settled::Returns(Some(former)) => assigns = former,
            // It only came to be under a build that is gone, and no other knows what to make of it.
            Settled::Returns(None) => return,
        }
        // It may have ended since, where the member was replaced.
        if let Err(fault) = self.line.open_room(&self.node, &self.member.topic, &route).await {
            return self.log(Some(&route), Failed::in_callback("terminate"), &fault);
        }
        self.settle_room();
        let standing = Standing { assigns: Some(assigns), room: self.saved_room() };
        let (call, _) = self.call(&mut self.lock(), Callback::Terminate(ending));
        let mut question = Question::Member(call);
        // Once in a member's life, so that its other turns needn't carry the room for it.
        match Box::pin(self.ask_and_keep(&route, &mut question, &standing)).await {
            Ok(Answered { outcome, room, is_room_stored, .. }) => {
                if let Some(room) = room {
                    self.line.save_room(room, is_room_stored);
                }
                self.carry_out(outcome.effects, audience.as_deref(), None);
            }
            Err(fault) => self.log(Some(&route), Failed::in_callback("terminate"), &fault),
        }
    }

    /// Asks, and stores what is to be stored; nothing stands in the way of the rest.
    async fn ask_and_keep(
        &self,
        route: &Arc<Route>,
        question: &mut Question,
        standing: &Standing,
    ) -> Result<Answered, Fault> {
        let patience = Patience::new();
        loop {
            let mut answered = consult(route, question, standing).await?;
            match self.node.keep((&self.line, &self.member.topic), route, &mut answered).await? {
                Kept::Done => return Ok(answered),
                Kept::Overtaken => patience.go_on()?,
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
