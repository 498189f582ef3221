//! One callback of a topic, with its commit. The jobs of `topic_turn` and `topic_info` use it.

use std::sync::Arc;

use super::member::{EffectScope, carry_out, has_room_for, open_room, settle_room};
use super::room::{DueJob, IdempotentRequest, TopicTurns, persist, publish_entries};
use super::turn::{
    Evaluated, Failed, FaultLine, Persisted, PluginCall, RetryDeadline, Services, StateSnapshot, invoke,
};
use crate::clients::FaultCause;
use crate::contract::{Answer, Effect, Fault, FaultKind, Reply, SocketFacts, TopicCall, TopicCallback};
use crate::routes::Route;
use crate::store::{ReadError, StoredJob};

/// The result of a callback of a topic.
#[derive(Debug, Default)]
pub(super) struct TopicOutcome {
    /// Its answer, if it has one.
    pub(super) reply: Option<Reply>,
    /// Whether it took the name of its message, for a later answer.
    pub(super) is_answered_later: bool,
}

/// What is committed together with a callback, in addition to its outcome.
pub(super) enum CommitPart<'a> {
    /// The end of a job.
    Job(&'a RunningJob<'a>),
    /// The answer to a request.
    Request(&'a IdempotentRequest),
}

impl CommitPart<'_> {
    /// Adds it to the draft of the callback. Returns false if somebody else has changed it meanwhile: then nothing of the callback
    /// may be committed.
    async fn add(&self, services: &Services, route: &Route, evaluated: &mut Evaluated) -> Result<bool, Fault> {
        // A durable room is stored together with it, also if its other commits may wait.
        evaluated.is_room_stored = true;
        let draft = evaluated.draft.get_or_insert_with(|| Box::new(services.store.begin(&route.owner)));
        match self {
            Self::Job(RunningJob { due, stored }) => {
                draft.finish_job(&due.id, stored, due.next.as_ref()).await.map_err(|error| store_fault(&error))
            }
            Self::Request(request) => {
                let name = request.name();
                if draft.request(&name).await.map_err(|error| store_fault(&error))?.is_some() {
                    return Ok(false);
                }
                let reply = if let Answer::Reply(reply) = &evaluated.answer { Some(reply) } else { None };
                draft.set_request(&name, &request.encode(reply), request.lifetime_ms);
                Ok(true)
            }
        }
    }
}

/// A job whose callback runs.
pub(super) struct RunningJob<'a> {
    pub(super) due: &'a DueJob,
    pub(super) stored: StoredJob,
}

/// One callback of a topic, and its commit, which contains `part`. Returns none if nothing was committed, because somebody else
/// has changed that part meanwhile.
pub(super) async fn topic_turn(
    topic: &Arc<TopicTurns>,
    route: &Arc<Route>,
    callback: TopicCallback,
    part: Option<&CommitPart<'_>>,
) -> Result<Option<TopicOutcome>, Fault> {
    open_room(topic, route).await?;
    settle_room(topic);
    let (room, entries) = (topic.saved_room(), topic.entries(route));
    let mut states = StateSnapshot { room, entries, http: route.http_journal(), ..StateSnapshot::default() };
    let mut call = PluginCall::Topic(TopicCall { topic: topic.name.clone(), room: None, callback });
    let deadline = RetryDeadline::new();
    let mut switched: Option<Arc<Route>> = None;
    loop {
        let route = switched.as_ref().unwrap_or(route);
        let mut evaluated = invoke(route, &mut call, &states).await?;
        let effects = &evaluated.effects;
        let audience = topic.services().pubsub.audience(topic.name.as_str());
        let has_room = audience.is_none_or(|audience| audience.has_room(effects.len()));
        if !has_room || !has_room_for(&topic.topics, effects) {
            return Err(Fault::overflow());
        }
        if let Some(part) = part
            && !part.add(topic.services(), route, &mut evaluated).await?
        {
            return Ok(None);
        }
        match persist(topic.services(), Some(topic), route, &mut evaluated).await? {
            Persisted::Done => return Ok(Some(commit(topic, evaluated))),
            Persisted::Conflict => {
                deadline.check()?;
                if let Some(route) = topic.switched_route(route) {
                    settle_room(topic);
                    (states.room, states.entries) = (topic.saved_room(), topic.entries(&route));
                    switched = Some(route);
                }
            }
        }
    }
}

fn commit(topic: &Arc<TopicTurns>, evaluated: Evaluated) -> TopicOutcome {
    let Evaluated { room, entries, effects, answer, is_room_stored, .. } = evaluated;
    publish_entries(topic, topic.save(room, entries, is_room_stored));
    let is_answered_later = effects.contains(&Effect::AnswerLater);
    carry_out(effects, EffectScope::of_topic(topic));
    let reply = match answer {
        Answer::Reply(reply) => Some(reply),
        Answer::None | Answer::Admit(_) | Answer::Refuse(_) | Answer::Stop(_) => None,
    };
    TopicOutcome { reply, is_answered_later }
}

/// Counts and logs a fault of one of the topic's callbacks.
pub(super) fn log_fault(topic: &TopicTurns, route: &Route, failed: Failed<'_>, fault: &Fault) {
    log_fault_of(topic, route, failed, fault, None);
}

/// Counts and logs a fault of one of the topic's callbacks, which may have handled the message of a member with this socket.
pub(super) fn log_fault_of(
    topic: &TopicTurns,
    route: &Route,
    failed: Failed<'_>,
    fault: &Fault,
    socket: Option<&SocketFacts>,
) {
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

/// The fault of a read that failed.
pub(super) fn store_fault(error: &ReadError) -> Fault {
    Fault::new(FaultKind::Store, error.to_string())
}
