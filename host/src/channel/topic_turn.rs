//! The turns of a topic itself, without a member: `handle_message`, `handle_tick`, `handle_seat`, and reviews of its
//! room.

use std::sync::Arc;

use bytestring::ByteString;
use futures_util::future::BoxFuture;

use super::member::{MemberEvent, after_turn, members_of, take};
use super::room::{
    IdempotentRequest, MessageJob, Sender, StoredAnswer, TopicEvent, TopicJob, TopicTurns, Undelivered,
    catch_up_entries, change_ended_seat, end, persist_room, set_tick, take_tick,
};
use super::topic_call::{CommitPart, TopicOutcome, log_fault, log_fault_of, store_fault, topic_turn};
use super::topic_info::{tell, tell_answer};
use super::turn::{Failed, Job, RetryDeadline, Services, TurnGate};
use crate::contract::{AnswerRef, Fault, FaultKind, Reply, SeatChange, SocketFacts, Tick, TopicCallback};
use crate::counts::Limit;
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

    fn gate(&self) -> &Arc<TurnGate> {
        &self.topic.services().gate
    }

    fn begin(&mut self) -> Option<BoxFuture<'static, ()>> {
        self.leave_queue();
        let (sender, in_flight) = (self.sender.take()?, self.in_flight.take());
        let (topic, event, payload) = (Arc::clone(&self.topic), self.event.clone(), self.payload.clone());
        let request = sender.request();
        Some(Box::pin(async move {
            let socket = sender.socket();
            if !sender.is_waiting() {
                let delivered = deliver(&topic, &event, payload, (None, request.as_deref(), socket)).await;
                sender.answer(&topic.name, event, delivered.map(|turned| turned.reply));
                drop(in_flight);
                return;
            }
            // Before the callback, because its own effects may lead to the answer.
            let answers = &topic.topics.answers;
            let answer_ref = answers.begin(sender, &topic.name, &event, in_flight);
            match deliver(&topic, &event, payload, (Some(answer_ref), request.as_deref(), socket)).await {
                Ok(TopicOutcome { reply: None, is_answered_later: true }) => {}
                delivered => answers.end(answer_ref, delivered.map(|turned| turned.reply)),
            }
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

    fn gate(&self) -> &Arc<TurnGate> {
        &self.topic.services().gate
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
        TopicEvent::Info(info) => tell(&topic, *info).await,
        TopicEvent::Answer(answer) => tell_answer(&topic, *answer).await,
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
    (answer_ref, request, socket): (Option<AnswerRef>, Option<&IdempotentRequest>, Option<Arc<SocketFacts>>),
) -> Result<TopicOutcome, Undelivered> {
    let route = topic.services().routes.find(topic.name.as_str()).ok_or(Undelivered::Unrouted)?;
    if !route.takes.messages {
        return Err(Undelivered::NotTaken(Arc::clone(&route.plugin)));
    }
    topic.services().clients.may_be_called(&route.plugin, route.generation).map_err(Undelivered::SetAside)?;
    let callback = TopicCallback::Message { event: event.clone(), payload, answer_ref };
    let failed = Failed { event: Some(event), ..Failed::in_callback(callback.name()) };
    let turned = match request {
        None => topic_turn(topic, &route, callback, None).await.map(Option::unwrap_or_default),
        // Boxed because few messages have a key. Otherwise each message would need the memory for it.
        Some(request) => match Box::pin(once(topic, &route, callback, request)).await {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => return Err(Undelivered::KeyReused),
            Err(fault) => Err(fault),
        },
    };
    turned.map_err(|fault| {
        log_fault_of(topic, &route, failed, &fault, socket.as_deref());
        Undelivered::Fault(fault)
    })
}

/// Handles the message of a request that takes effect once: if it was handled before, returns its stored reply. Returns none if
/// the key was used for another request.
async fn once(
    topic: &Arc<TopicTurns>,
    route: &Arc<Route>,
    callback: TopicCallback,
    request: &IdempotentRequest,
) -> Result<Option<TopicOutcome>, Fault> {
    let deadline = RetryDeadline::new();
    loop {
        // The draft ends before the callback, because a snapshot keeps the store from freeing pages.
        let stored = topic.services().store.begin(&route.owner).request(&request.name()).await;
        match stored.map_err(|error| store_fault(&error))?.map(|stored| request.decode(&stored)) {
            Some(StoredAnswer::Same(reply)) => return Ok(Some(TopicOutcome { reply, is_answered_later: false })),
            Some(StoredAnswer::Other) => return Ok(None),
            Some(StoredAnswer::Damaged) => {
                return Err(Fault::new(FaultKind::Store, "the stored answer to a request is damaged"));
            }
            None => {}
        }
        let part = CommitPart::Request(request);
        // Messages of one topic are handled one after another, but the key may be in use in another topic of the plugin.
        if let Some(outcome) = topic_turn(topic, route, callback.clone(), Some(&part)).await? {
            return Ok(Some(outcome));
        }
        deadline.check()?;
    }
}

/// Stores the answer to a request that came after the callback of its message, unless the answer of the callback is stored.
pub(super) async fn keep_answer(services: &Services, topic: &str, request: &IdempotentRequest, reply: &Reply) {
    // Another plugin may serve the topic by now: it knows nothing of the request.
    let Some(route) = services.routes.find(topic) else { return };
    let mut draft = services.store.begin(&route.owner);
    let name = request.name();
    let kept = match draft.request(&name).await {
        Ok(Some(stored)) if request.decode(&stored) == StoredAnswer::Same(None) => {
            draft.set_request(&name, &request.encode(Some(reply)), request.lifetime_ms);
            services.store.commit(draft).await.map(drop).map_err(|error| error.to_string())
        }
        Ok(_) => return,
        Err(error) => Err(store_fault(&error).detail),
    };
    if let Err(error) = kept {
        tracing::warn!(topic, "a later answer isn't kept for a repetition of its request: {error}");
    }
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
    match topic_turn(topic, &route, TopicCallback::Tick(tick), None).await {
        Ok(_) => drop(topic.count_tick(false)),
        Err(fault) => {
            log_fault(topic, &route, Failed::in_callback("handle_tick"), &fault);
            let (failed, most) = (topic.count_tick(true), route.spec.tick_faults);
            if most > 0 && failed >= most {
                Limit::TickFaults.hit();
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
    if let Err(fault) = topic_turn(topic, &route, callback, None).await {
        log_fault(topic, &route, Failed { seat: Some(name), ..Failed::in_callback("handle_seat") }, &fault);
    }
}
