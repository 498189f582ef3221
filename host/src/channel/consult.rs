//! One call, with all that may come before and after it: states taken over from another version, and, while the generation is on
//! probation, the judgement of the one before it.

use std::sync::Arc;

use bytes::Bytes;

use super::fault_log::{Failed, FaultLine};
use super::saved::Saved;
use crate::contract::{Call, Calling, Effect, Fault, Member, Outcome, Part, TopicCall, Upgrade};
use crate::protocol::Topic;
use crate::routes::Route;

/// What is asked of a plugin.
#[derive(Debug)]
pub(super) enum Question {
    /// A member's callback.
    Member(Call),
    /// A topic's.
    Topic(TopicCall),
}

/// The states that a call is made on, as they were last committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) assigns: Option<Saved>,
    pub(super) room: Option<Saved>,
}

/// What came of a call: its outcome, whose states are these, as they are to be committed.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) outcome: Outcome,
    pub(super) assigns: Option<Saved>,
    pub(super) room: Option<Saved>,
    /// Whether nothing of the room is left to be stored.
    pub(super) is_room_stored: bool,
    /// Whether something of it is in the store, and so there is no way back.
    pub(super) is_stored: bool,
}

/// Asks the generation that serves. What it fails on, and the generation before it answers, is answered by that one for as
/// long as the new one is on probation.
pub(super) async fn consult(
    route: &Arc<Route>,
    question: &mut Question,
    standing: &Standing,
) -> Result<Answered, Fault> {
    let asked = ask(route, question, standing).await;
    if route.trial().is_none() {
        return asked;
    }
    Box::pin(judge(route, question, standing, asked)).await
}

/// What comes of an answer while the generation that gave it is on probation.
async fn judge(
    route: &Arc<Route>,
    question: &mut Question,
    standing: &Standing,
    asked: Result<Answered, Fault>,
) -> Result<Answered, Fault> {
    let Some((probation, proved)) = route.trial() else { return asked };
    let fault = match asked {
        Ok(answered) => {
            probation.count_call();
            return Ok(answered);
        }
        Err(fault) => fault,
    };
    // A state that was born in the new version leaves nothing to judge by.
    let former = proved.and_then(|proved| Some((proved, standing.as_of(proved)?)));
    let Some((proved, former)) = former else { return Err(fault) };
    let Ok(answered) = ask(proved, question, &former).await else { return Err(fault) };
    probation.count_fault();
    if !standing.is_untouched() {
        // What was committed since would be lost with it.
        return Err(fault);
    }
    FaultLine {
        route: Some(route),
        topic: question.topic(),
        member: question.member(),
        failed: question.failed(),
        fault: &fault,
        answered_by: Some(proved.generation),
    }
    .write();
    Ok(answered)
}

/// Asks one generation. One without rooms sees none, and leaves as it is what another has written.
async fn ask(route: &Route, question: &mut Question, standing: &Standing) -> Result<Answered, Fault> {
    let (old_assigns, old_room) = (standing.assigns.as_ref(), standing.room.as_ref().filter(|_| route.spec.has_room()));
    let assigns = fit(route, question.topic(), Part::Assigns, old_assigns).await?;
    let room = fit(route, question.topic(), Part::Room, old_room).await?;
    question.stand_on(&assigns, &room);
    let mut outcome = question.put(route).await?;
    check_room(route, &outcome)?;
    let saved = |new: Option<Bytes>, fitted: Fitted, old: Option<&Saved>, part: Part| {
        let is_commit = new.is_some();
        let bytes = new.or_else(|| fitted.is_new.then_some(fitted.bytes).flatten());
        bytes.map(|bytes| Saved::written(old, bytes, is_commit, (route, part)))
    };
    Ok(Answered {
        assigns: saved(outcome.assigns.take(), assigns, old_assigns, Part::Assigns),
        room: saved(outcome.room.take(), room, old_room, Part::Room),
        is_room_stored: false,
        is_stored: false,
        outcome,
    })
}

/// A state as a build is given it.
pub(super) struct Fitted {
    pub(super) bytes: Option<Bytes>,
    /// Whether the build has taken it over just now.
    is_new: bool,
}

/// A state as this route's build writes it.
pub(super) async fn fit(route: &Route, topic: &Topic, part: Part, saved: Option<&Saved>) -> Result<Fitted, Fault> {
    match as_it_is(route, part, saved) {
        Some(fitted) => Ok(fitted),
        None => Box::pin(take_over(route, topic, part, saved)).await,
    }
}

/// A state that needn't be taken over.
pub(super) fn as_it_is(route: &Route, part: Part, saved: Option<&Saved>) -> Option<Fitted> {
    let fits = saved.is_none_or(|saved| saved.version == part.version(&route.spec) || saved.bytes.is_empty());
    fits.then(|| Fitted { bytes: saved.map(|saved| saved.bytes.clone()), is_new: false })
}

async fn take_over(route: &Route, topic: &Topic, part: Part, saved: Option<&Saved>) -> Result<Fitted, Fault> {
    let old = saved.cloned().unwrap_or_default();
    let upgrade = Upgrade { topic: topic.clone(), part, version: old.version, state: old.bytes };
    let upgraded = route.behaviour.upgrade(&upgrade).await?;
    let is_new = upgraded.is_some();
    Ok(Fitted { bytes: Some(upgraded.unwrap_or(upgrade.state)), is_new })
}

/// A room without bytes is as if nobody had written it.
fn written(room: &Fitted) -> Option<Bytes> {
    room.bytes.clone().filter(|bytes| !bytes.is_empty())
}

fn check_room(route: &Route, outcome: &Outcome) -> Result<(), Fault> {
    if route.spec.has_room() {
        return Ok(());
    }
    if outcome.room.is_some() {
        return Err(Fault::failed(
            "a room was given back, but the route has none: its option `room` says whether it does (`type Room` in Rust)",
        ));
    }
    let needs_room =
        |effect: &Effect| matches!(effect, Effect::Beat(_) | Effect::PublishState(_) | Effect::TakeSeat { .. });
    if outcome.effects.iter().any(needs_room) {
        return Err(Fault::failed(
            "a beat, a seat or a published state was asked for, but the route has no room: its option `room` says whether it does (`type Room` in Rust)",
        ));
    }
    Ok(())
}

impl Question {
    fn topic(&self) -> &Topic {
        match self {
            Self::Member(call) => &call.member.topic,
            Self::Topic(call) => &call.topic,
        }
    }

    /// Has it answered by one generation.
    fn put<'a>(&'a self, route: &'a Route) -> Calling<'a, Outcome> {
        match self {
            Self::Member(call) => route.behaviour.call(call),
            Self::Topic(call) => route.behaviour.call_topic(call),
        }
    }

    fn member(&self) -> Option<&Member> {
        match self {
            Self::Member(call) => Some(&call.member),
            Self::Topic(_) => None,
        }
    }

    /// The callback with what it is given, for logs.
    pub(super) fn failed(&self) -> Failed<'_> {
        match self {
            Self::Member(call) => Failed { event: call.callback.event(), ..Failed::in_callback(call.callback.name()) },
            Self::Topic(call) => {
                let (event, seat) = (call.callback.event(), call.callback.seat());
                Failed { event, seat, ..Failed::in_callback(call.callback.name()) }
            }
        }
    }

    fn stand_on(&mut self, assigns: &Fitted, room: &Fitted) {
        match self {
            Self::Member(call) => {
                call.assigns = assigns.bytes.clone().unwrap_or_default();
                call.room = written(room);
            }
            Self::Topic(call) => call.room = written(room),
        }
    }
}

impl Standing {
    /// The states as the generation that `route` is of would have them, if it can.
    fn as_of(&self, route: &Route) -> Option<Self> {
        let former = |saved: &Option<Saved>, part| match saved {
            None => Some(None),
            Some(saved) => saved.as_of(route, part).map(Some),
        };
        Some(Self { assigns: former(&self.assigns, Part::Assigns)?, room: former(&self.room, Part::Room)? })
    }

    fn is_untouched(&self) -> bool {
        self.assigns.iter().chain(&self.room).all(Saved::is_untouched)
    }
}
