//! Turns: what happens to a channel, one entry at a time.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytestring::ByteString;
use futures_util::FutureExt;

use super::Channel;
use super::consult::{Answered, Question, Standing, consult};
use super::keep::{Kept, Patience};
use super::membership::{Phase, Remains};
use super::saved::{Saved, Settled};
use super::seats::Rising;
use crate::contract::{Callback, Ending, Fault, Message, Reply, Source, TimerId};
use crate::protocol::{Addressee, Outbound, Payload, Ref};
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
    Fault(Fault),
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
            | Self::Fault(_)
            | Self::Closed(_)
            | Self::Gone(_)
            | Self::Ghost
            | Self::TakenBack
            | Self::Unrouted => 0,
        }
    }
}

impl Channel {
    /// Takes one turn. A panic in it must not leave the line standing still.
    pub(super) async fn take(self: &Arc<Self>, entry: Entry) {
        if AssertUnwindSafe(self.turn(entry)).catch_unwind().await.is_err() {
            self.panicked();
        }
        self.count_out();
    }

    async fn turn(self: &Arc<Self>, entry: Entry) {
        match entry {
            Entry::Join { params, reference, replaced } => {
                self.join(params, &reference).await;
                if let Some(join_ref) = &replaced {
                    self.send(None, Outbound::Close { join_ref, topic: self.member.topic.as_str() });
                }
            }
            Entry::In { event, payload, reference } => self.handle_in(event, payload, reference).await,
            Entry::Leave { join_ref, reference } => self.leave(&join_ref, &reference).await,
            Entry::Info(message) => self.handle_info(message).await,
            Entry::Timer(timer) => {
                let rung = self.lock().timers.take(timer);
                if let Some((event, payload)) = rung {
                    let topic = self.member.topic.clone();
                    self.handle_info(Message { source: Source::Own, topic, event, payload }).await;
                }
            }
            Entry::Fault(fault) => self.fault(fault).await,
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
            Entry::Unrouted => self.unrouted(),
        }
    }

    async fn handle_in(self: &Arc<Self>, event: ByteString, payload: Payload, reference: Ref) {
        let phase = self.lock().phase;
        match phase {
            Phase::Joined => {
                let reply_ref = (!reference.is_null()).then(|| ByteString::from(reference.json()));
                self.take_turn(Callback::In { event, payload, reply_ref }, Some(&reference)).await;
            }
            Phase::Ended => self.reply(&Ref::NULL, &reference, "error", &Payload::reason("unmatched topic")),
            Phase::Joining | Phase::Replaced => {}
        }
    }

    async fn handle_info(self: &Arc<Self>, message: Message) {
        if self.lock().phase == Phase::Joined {
            self.take_turn(Callback::Info(message), None).await;
        }
    }

    /// One callback of a member that is in, and its commit.
    async fn take_turn(self: &Arc<Self>, callback: Callback, reference: Option<&Ref>) {
        let name = callback.name();
        let (call, assigns, plugin) = self.call(callback);
        let Some(route) = self.route(plugin.as_ref()) else { return self.unrouted() };
        if self.settle_room() || assigns.is_to_return() {
            return self.end_with_error(Ending::TakenBack).await;
        }
        let question = &mut Question::Member(call);
        match self.ask_and_commit(&route, question, assigns, reference).await {
            Ok(None) => {}
            Ok(Some((remains, ending))) => self.terminate(remains, ending).await,
            Err(fault) if route.spec.on_fault == OnFault::Keep => {
                self.log(Some(&route), name, &fault);
                self.answer_fault(reference);
            }
            Err(fault) => self.fail(Some(&route), name, fault).await,
        }
    }

    /// Asks until what it has read of the store is still so at its commit.
    async fn ask_and_commit(
        self: &Arc<Self>,
        route: &Arc<Route>,
        question: &mut Question,
        assigns: Saved,
        reference: Option<&Ref>,
    ) -> Result<Option<(Remains, Ending)>, Fault> {
        self.line.open_room(&self.node, &self.member.topic, route).await?;
        let standing = Standing { assigns: Some(assigns), room: self.saved_room() };
        let patience = Patience::new();
        loop {
            let mut answered = consult(route, question, &standing).await?;
            if !self.may_commit(&answered.outcome, reference)? {
                return Ok(None);
            }
            match self.node.keep((&self.line, &self.member.topic), route, &mut answered).await? {
                Kept::Done => return Ok(self.commit(answered, reference)),
                Kept::Overtaken => patience.go_on()?,
            }
        }
    }

    /// Something failed on its behalf, outside its turns.
    async fn fault(self: &Arc<Self>, fault: Fault) {
        self.undoom();
        let (phase, plugin) = {
            let state = self.lock();
            (state.phase, state.plugin.clone())
        };
        // One that has ended in the meantime has nothing more to lose.
        if phase != Phase::Joined {
            return;
        }
        let route = self.route(plugin.as_ref());
        if route.as_ref().is_some_and(|route| route.spec.on_fault == OnFault::Keep) {
            return self.log(route.as_ref(), "", &fault);
        }
        self.fail(route.as_ref(), "", fault).await;
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
        let (audience, to) = (remains.audience.clone(), self.addressee());
        let reply =
            Outbound::Reply { join_ref: self.mark(), reference, to: &to, status: "ok", payload: &Payload::EMPTY };
        self.send(audience.as_deref(), reply);
        self.send_close(audience.as_deref());
        self.terminate(remains, Ending::Left).await;
    }

    async fn fail(self: &Arc<Self>, route: Option<&Arc<Route>>, callback: &str, fault: Fault) {
        self.log(route, callback, &fault);
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
            return self.log(Some(&route), "terminate", &fault);
        }
        self.settle_room();
        let standing = Standing { assigns: Some(assigns), room: self.saved_room() };
        let (call, ..) = self.call(Callback::Terminate(ending));
        let mut question = Question::Member(call);
        // Once in a member's life, so that its other turns needn't carry the room for it.
        match Box::pin(self.ask_and_keep(&route, &mut question, &standing)).await {
            Ok(Answered { outcome, room, is_room_stored, .. }) => {
                if let Some(room) = room {
                    self.line.save_room(room, is_room_stored);
                }
                self.carry_out(outcome.effects, audience.as_deref(), None);
            }
            Err(fault) => self.log(Some(&route), "terminate", &fault),
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
        self.send(None, Outbound::Reply { join_ref, reference, to: &to, status, payload });
    }

    pub(super) fn addressee(&self) -> Addressee {
        Addressee::Topic(self.member.topic.as_str().into())
    }

    pub(super) fn log(&self, route: Option<&Arc<Route>>, callback: &str, fault: &Fault) {
        self.node.count_fault();
        tracing::warn!(
            plugin = route.map_or("", |route| &*route.plugin),
            generation = route.map_or(0, |route| route.generation),
            topic = self.member.topic.as_str(),
            member = self.member.id,
            callback,
            kind = fault.kind.as_str(),
            "fault: {}",
            fault.detail
        );
    }
}
