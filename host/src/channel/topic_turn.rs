//! The turns of a topic itself, without a member: `handle_message`, `handle_tick`, `handle_seat`, and reviews of its
//! room.

use std::sync::Arc;

use bytestring::ByteString;
use futures_util::future::BoxFuture;

use super::member::{
    EffectScope, MemberEvent, after_turn, carry_out, has_room_for, members_of, open_room, settle_room, take,
};
use super::room::{
    Delivered, MessageJob, Sender, TopicEvent, TopicJob, TopicTurns, Undelivered, catch_up_entries, change_ended_seat,
    end, persist, persist_room, publish_entries, set_tick, take_tick,
};
use super::turn::{Evaluated, Failed, FaultLine, Job, Persisted, PluginCall, RetryDeadline, StateSnapshot, invoke};
use crate::clients::FaultCause;
use crate::contract::{Answer, Fault, Reply, SeatChange, SocketFacts, Tick, TopicCall, TopicCallback};
use crate::protocol::{Payload, Topic};
use crate::pubsub::Pressure;
use crate::routes::Route;

impl<S: Sender> Job for MessageJob<S> {
    fn topic(&self) -> &Topic {
        &self.topic.name
    }

    fn pressure(&self) -> &Arc<Pressure> {
        &self.topic.services().pubsub.pressure
    }

    fn begin(&mut self) -> Option<BoxFuture<'static, ()>> {
        self.leave_queue();
        let (sender, in_flight) = (self.sender.take()?, self.in_flight.take());
        let (topic, event, payload) = (Arc::clone(&self.topic), self.event.clone(), self.payload.clone());
        Some(Box::pin(async move {
            let delivered = deliver(&topic, &event, payload, sender.socket().as_deref()).await;
            sender.answer(&topic.name, event, delivered);
            drop(in_flight);
        }))
    }

    fn finish(&mut self) -> Option<BoxFuture<'static, ()>> {
        after_turn(&self.topic)
    }
}

impl Job for TopicJob {
    fn topic(&self) -> &Topic {
        &self.topic.name
    }

    fn pressure(&self) -> &Arc<Pressure> {
        &self.topic.services().pubsub.pressure
    }

    fn begin(&mut self) -> Option<BoxFuture<'static, ()>> {
        Some(Box::pin(run(Arc::clone(&self.topic), self.event.take()?)))
    }

    fn finish(&mut self) -> Option<BoxFuture<'static, ()>> {
        if self.is_reviewed { after_turn(&self.topic) } else { None }
    }
}

async fn run(topic: Arc<TopicTurns>, event: TopicEvent) {
    match event {
        TopicEvent::Tick(tick) => run_tick(&topic, tick).await,
        TopicEvent::Seat(name) => {
            for change in topic.take_seat_changes(&name) {
                tell_seat(&topic, &name, change).await;
            }
            if let Some(change) = change_ended_seat(&topic, &name) {
                tell_seat(&topic, &name, change).await;
            }
        }
        TopicEvent::CatchUp => catch_up_entries(&topic).await,
        // Every turn is followed by a review.
        TopicEvent::Review => {}
        TopicEvent::Settle(settled) => {
            if let Some(rest) = after_turn(&topic) {
                rest.await;
            }
            // Not every commit of a room with ticks is stored at once.
            persist_room(&topic).await;
            // The waiting task may have ended.
            let _ = settled.send(());
        }
        TopicEvent::Persist(persisted) => {
            set_tick(&topic, None);
            persist_room(&topic).await;
            // The task that waited may have reached its deadline.
            let _ = persisted.send(());
        }
    }
}

async fn deliver(
    topic: &Arc<TopicTurns>,
    event: &ByteString,
    payload: Payload,
    socket: Option<&SocketFacts>,
) -> Delivered {
    let route = topic.services().routes.find(topic.name.as_str()).ok_or(Undelivered::Unrouted)?;
    if !route.takes.messages {
        return Err(Undelivered::NotTaken(Arc::clone(&route.plugin)));
    }
    topic.services().clients.may_be_called(&route.plugin, route.generation).map_err(Undelivered::SetAside)?;
    let callback = TopicCallback::Message { event: event.clone(), payload };
    let failed = Failed { event: Some(event), ..Failed::in_callback(callback.name()) };
    topic_turn(topic, &route, callback).await.map_err(|fault| {
        log_fault(topic, &route, failed, &fault, socket);
        Undelivered::Fault(fault)
    })
}

async fn run_tick(topic: &Arc<TopicTurns>, tick: Tick) {
    if !take_tick(topic, tick.period) {
        return;
    }
    let route = topic.services().routes.find(topic.name.as_str()).filter(|route| route.spec.has_room());
    let Some(route) = route else { return };
    // Another plugin serves the topic now, and it hasn't asked for these ticks.
    if !topic.is_room_of(&route) {
        return end(topic).await;
    }
    if !route.takes.ticks {
        // A build without `handle_tick` serves the topic now.
        tracing::warn!(
            plugin = &*route.plugin,
            topic = topic.name.as_str(),
            "the plugin has no handle_tick: the topic's ticks end"
        );
        return set_tick(topic, None);
    }
    if topic.services().clients.may_be_called(&route.plugin, route.generation).is_err() {
        return topic.services().count_ticks(0, 1);
    }
    match topic_turn(topic, &route, TopicCallback::Tick(tick)).await {
        Ok(_) => drop(topic.count_tick(false)),
        Err(fault) => {
            log_fault(topic, &route, Failed::in_callback("handle_tick"), &fault, None);
            let (failed, most) = (topic.count_tick(true), route.spec.tick_faults);
            if most > 0 && failed >= most {
                tracing::error!(
                    topic = topic.name.as_str(),
                    "topic_closed: its handle_tick failed {failed} times in a row"
                );
                close(topic, &fault).await;
            }
        }
    }
}

/// Closes a topic whose ticks have failed too many times in a row. Its members end within this turn, so that the waiting
/// turns find neither members nor a room.
async fn close(topic: &Arc<TopicTurns>, fault: &Fault) {
    set_tick(topic, None);
    for channel in members_of(&topic.services().pubsub, topic.name.as_str()) {
        if let Some(rest) = take(&channel, MemberEvent::Closed(fault.clone())) {
            rest.await;
        }
    }
    end(topic).await;
}

/// Calls `handle_seat` with a change of a seat.
async fn tell_seat(topic: &Arc<TopicTurns>, name: &ByteString, change: SeatChange) {
    let Some(route) = topic.services().routes.find(topic.name.as_str()) else { return };
    if !route.spec.has_room() || !route.takes.seats {
        return;
    }
    let callback = TopicCallback::Seat { name: name.clone(), change };
    if let Err(fault) = topic_turn(topic, &route, callback).await {
        log_fault(topic, &route, Failed { seat: Some(name), ..Failed::in_callback("handle_seat") }, &fault, None);
    }
}

/// One callback of a topic, and its commit. Returns its answer, if it has one.
async fn topic_turn(
    topic: &Arc<TopicTurns>,
    route: &Arc<Route>,
    callback: TopicCallback,
) -> Result<Option<Reply>, Fault> {
    open_room(topic, route).await?;
    settle_room(topic);
    let (room, entries) = (topic.saved_room(), topic.entries(route));
    let states = StateSnapshot { room, entries, http: route.http_journal(), ..StateSnapshot::default() };
    let mut call = PluginCall::Topic(TopicCall { topic: topic.name.clone(), room: None, callback });
    let deadline = RetryDeadline::new();
    loop {
        let mut evaluated = invoke(route, &mut call, &states).await?;
        let effects = &evaluated.effects;
        let audience = topic.services().pubsub.audience(topic.name.as_str());
        let has_room = audience.is_none_or(|audience| audience.has_room(effects.len()));
        if !has_room || !has_room_for(&topic.topics, effects) {
            return Err(Fault::overflow());
        }
        match persist(topic.services(), Some(topic), route, &mut evaluated).await? {
            Persisted::Done => return Ok(commit(topic, evaluated)),
            Persisted::Conflict => deadline.check()?,
        }
    }
}

fn commit(topic: &Arc<TopicTurns>, evaluated: Evaluated) -> Option<Reply> {
    let Evaluated { room, entries, effects, answer, is_room_stored, .. } = evaluated;
    publish_entries(topic, topic.save(room, entries, is_room_stored));
    carry_out(effects, EffectScope::of_topic(topic));
    match answer {
        Answer::Reply(reply) => Some(reply),
        Answer::None | Answer::Admit(_) | Answer::Refuse(_) | Answer::Stop(_) => None,
    }
}

/// Counts and logs a fault of one of the topic's callbacks. If it handled a message of a member, `socket` is the member's.
fn log_fault(topic: &TopicTurns, route: &Route, failed: Failed<'_>, fault: &Fault, socket: Option<&SocketFacts>) {
    topic.services().count_fault();
    if fault.is_of_call() {
        topic.services().clients.on_fault(&FaultCause {
            plugin: &route.plugin,
            generation: route.generation,
            calls: route.behaviour.calls(),
            client: socket.and_then(SocketFacts::limited),
            is_caused_by_client: socket.is_some(),
            ends_member: false,
        });
    }
    FaultLine { route: Some(route), topic: &topic.name, member: None, failed, fault, answered_by: None }.write();
}
