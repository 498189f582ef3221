//! The turns of `handle_topic_info`: what the host itself tells a topic.
//!
//! The row of a job is replaced or removed in the draft of the callback that the job fires. So the writes of the callback
//! happen once, whenever the host is killed: either the row and nothing else is there, or the writes and no row.

use std::sync::Arc;

use bytestring::ByteString;

use super::room::{AnswerJob, DueJob, InfoCause, InfoJob, InfoOutcome, TopicTurns};
use super::topic_call::{CommitPart, RunningJob, log_fault, store_fault, topic_turn};
use super::turn::{Failed, Services};
use crate::contract::jobs::{JobId, JobKind, JobRow};
use crate::contract::{Fault, FaultKind, Fired, Message, Source, TopicCallback, TopicInfo, system_random};
use crate::counts::Limit;
use crate::protocol::Payload;
use crate::routes::Route;

/// The event of the message with the source `start`.
const START: &str = "start";

/// The route of the plugin that a job belongs to, if that plugin serves its topic and takes such messages.
pub(super) fn route_of(services: &Services, id: &JobId) -> Option<Arc<Route>> {
    let route = services.routes.find(id.topic.as_str())?;
    (route.owner.name() == &*id.plugin && route.takes.infos).then_some(route)
}

/// Tells a topic something, and the sender what became of it.
pub(super) async fn tell(topic: &Arc<TopicTurns>, info: InfoJob) {
    let InfoJob { told, result } = info;
    let telling = match told {
        InfoCause::Job(due) => run_job(topic, &due).await,
        InfoCause::Start => tell_start(topic).await,
    };
    // The dispatcher may have ended with the host.
    let _ = result.send(telling);
}

async fn tell_start(topic: &Arc<TopicTurns>) -> InfoOutcome {
    let route = topic.services().routes.find(topic.name.as_str()).filter(|route| route.takes.infos);
    let Some(route) = route else { return InfoOutcome::Unserved };
    let event = ByteString::from_static(START);
    let message = Message { source: Source::Start, topic: topic.name.clone(), event, payload: Payload::EMPTY };
    let callback = TopicCallback::Info(TopicInfo { message, fired: None });
    match topic_turn(topic, &route, callback, None).await {
        Ok(_) => InfoOutcome::Done,
        Err(fault) => {
            log_fault(topic, &route, Failed::in_callback("handle_topic_info"), &fault);
            InfoOutcome::Failed
        }
    }
}

/// Passes the answer to a request by HTTP on, at most once: after a fault it isn't tried again.
pub(super) async fn tell_answer(topic: &Arc<TopicTurns>, answer: AnswerJob) {
    // The counts end after the callback, whose own requests then have room.
    let AnswerJob { plugin, event, payload, under_way: _under_way, in_flight: _in_flight } = answer;
    let route = topic.services().routes.find(topic.name.as_str());
    // A plugin without the callback didn't want the answer.
    let Some(route) = route.filter(|route| route.takes.infos && route.plugin == plugin) else { return };
    let failed = Failed { event: Some(&event), ..Failed::in_callback("handle_topic_info") };
    let message = Message { source: Source::Http, topic: topic.name.clone(), event: event.clone(), payload };
    let callback = TopicCallback::Info(TopicInfo { message, fired: None });
    if let Err(fault) = topic_turn(topic, &route, callback, None).await {
        log_fault(topic, &route, failed, &fault);
    }
}

async fn run_job(topic: &Arc<TopicTurns>, due: &DueJob) -> InfoOutcome {
    let (services, id) = (topic.services(), &*due.id);
    let Some(route) = route_of(services, id) else { return InfoOutcome::Unserved };
    let read = services.store.begin(&route.owner).job(id.kind, id.topic.as_str(), &id.key).await;
    let stored = match read {
        Ok(Some(stored)) if stored.row.next_ms.is_some_and(|next_ms| next_ms <= due.now_ms) => stored,
        Ok(_) => return InfoOutcome::Changed,
        Err(error) => {
            tracing::error!(topic = topic.name.as_str(), "{id} can't be read: {error}");
            return InfoOutcome::Failed;
        }
    };
    let callback = TopicCallback::Info(info(id, &stored.row));
    let event = stored.row.event.clone();
    let job = RunningJob { due, stored };
    let fault = match topic_turn(topic, &route, callback, Some(&CommitPart::Job(&job))).await {
        Ok(Some(_)) => return InfoOutcome::Done,
        Ok(None) => return InfoOutcome::Changed,
        Err(fault) => fault,
    };
    log_fault(topic, &route, Failed { event: Some(&event), ..Failed::in_callback("handle_topic_info") }, &fault);
    if let Err(fault) = store_failure(services, &route, &job).await {
        tracing::error!(topic = topic.name.as_str(), "the failure of {id} can't be stored: {fault}");
    }
    InfoOutcome::Failed
}

/// The message of a job.
fn info(id: &JobId, row: &JobRow) -> TopicInfo {
    let due_ms = row.due_ms;
    let (source, fired) = match id.kind {
        JobKind::Schedule => (Source::Schedule, Some(Fired { due_ms, key: Some(id.key.clone()) })),
        JobKind::Cron => (Source::Cron, Some(Fired { due_ms, key: None })),
        JobKind::Undelivered => (Source::Http, None),
    };
    let message = Message { source, topic: id.topic.clone(), event: row.event.clone(), payload: row.payload.clone() };
    TopicInfo { message, fired }
}

/// Stores when a job is tried again after a failure, or that it is given up.
async fn store_failure(services: &Services, route: &Route, job: &RunningJob<'_>) -> Result<(), Fault> {
    let RunningJob { due: DueJob { id, now_ms, next }, stored } = job;
    let failed = stored.row.clone().failed(*now_ms, Some(system_random()?));
    let given_up = failed.next_ms.is_none();
    let row = match next {
        // The next time of a cron line takes the place of one that is given up.
        Some(next) if given_up => next,
        _ => &failed,
    };
    if given_up {
        Limit::ScheduleTries.hit();
        let failures = failed.failures;
        let then = match (id.kind, next) {
            (_, Some(_)) => "its next time is tried as usual",
            (JobKind::Undelivered, None) => "`bennu schedules --undelivered` shows it",
            (_, None) => "`bennu schedules` shows it",
        };
        tracing::error!(topic = id.topic.as_str(), "{id} is given up after {failures} failures; {then}");
    }
    let mut draft = services.store.begin(&route.owner.without_quota());
    if draft.finish_job(id, stored, Some(row)).await.map_err(|error| store_fault(&error))? {
        // After a conflict, the job was changed by somebody else, and that counts.
        services.store.commit(draft).await.map_err(|error| Fault::new(FaultKind::Store, error.to_string()))?;
    }
    Ok(())
}
