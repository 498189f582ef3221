//! One call, with all that may come before and after it: states taken over from another version, and, while the generation is on
//! probation, the judgement of the one before it.

use std::sync::Arc;

use bytes::Bytes;

use super::fault_log::{Failed, FaultLine};
use super::saved::Saved;
use crate::contract::{Call, CallFuture, Effect, Fault, Member, Outcome, Part, TopicCall, Upgrade};
use crate::protocol::Topic;
use crate::routes::Route;

/// What is asked of a plugin.
#[derive(Debug)]
pub(super) enum PluginCall {
    /// A member's callback.
    Member(Call),
    /// A topic's.
    Topic(TopicCall),
}

/// The states that a call is made on, as they were last committed.
#[derive(Clone, Debug, Default)]
pub(super) struct StateSnapshot {
    pub(super) assigns: Option<Saved>,
    pub(super) room: Option<Saved>,
}

/// What came of a call: its outcome, whose states are these, as they are to be committed.
#[derive(Debug)]
pub(super) struct Evaluated {
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
pub(super) async fn invoke(
    route: &Arc<Route>,
    call: &mut PluginCall,
    states: &StateSnapshot,
) -> Result<Evaluated, Fault> {
    let asked = evaluate(route, call, states).await;
    if route.trial().is_none() {
        return asked;
    }
    Box::pin(settle_on_probation(route, call, states, asked)).await
}

/// What comes of an answer while the generation that gave it is on probation.
async fn settle_on_probation(
    route: &Arc<Route>,
    call: &mut PluginCall,
    states: &StateSnapshot,
    asked: Result<Evaluated, Fault>,
) -> Result<Evaluated, Fault> {
    let Some((probation, proved)) = route.trial() else { return asked };
    let fault = match asked {
        Ok(evaluated) => {
            probation.count_call();
            return Ok(evaluated);
        }
        Err(fault) => fault,
    };
    // A state that was born in the new version leaves nothing to judge by.
    let former = proved.and_then(|proved| Some((proved, states.for_build(proved)?)));
    let Some((proved, former)) = former else { return Err(fault) };
    let Ok(evaluated) = evaluate(proved, call, &former).await else { return Err(fault) };
    probation.count_fault();
    if !states.is_untouched() {
        // What was committed since would be lost with it.
        return Err(fault);
    }
    FaultLine {
        route: Some(route),
        topic: call.topic(),
        member: call.member(),
        failed: call.failed(),
        fault: &fault,
        answered_by: Some(proved.generation),
    }
    .write();
    Ok(evaluated)
}

/// Asks one generation. One without rooms sees none, and leaves as it is what another has written.
async fn evaluate(route: &Route, call: &mut PluginCall, states: &StateSnapshot) -> Result<Evaluated, Fault> {
    let (old_assigns, old_room) = (states.assigns.as_ref(), states.room.as_ref().filter(|_| route.spec.has_room()));
    let assigns = upgrade_state(route, call.topic(), Part::Assigns, old_assigns).await?;
    let room = upgrade_state(route, call.topic(), Part::Room, old_room).await?;
    call.use_state(&assigns, &room);
    let mut outcome = call.run(route).await?;
    check_room(route, &outcome)?;
    let saved = |new: Option<Bytes>, upgraded: Upgraded, old: Option<&Saved>, part: Part| {
        let is_commit = new.is_some();
        let bytes = new.or_else(|| upgraded.is_new.then_some(upgraded.bytes).flatten());
        bytes.map(|bytes| Saved::after_call(old, bytes, is_commit, (route, part)))
    };
    Ok(Evaluated {
        assigns: saved(outcome.assigns.take(), assigns, old_assigns, Part::Assigns),
        room: saved(outcome.room.take(), room, old_room, Part::Room),
        is_room_stored: false,
        is_stored: false,
        outcome,
    })
}

/// A state as a build is given it.
pub(super) struct Upgraded {
    pub(super) bytes: Option<Bytes>,
    /// Whether the build has taken it over just now.
    is_new: bool,
}

/// A state as this route's build writes it.
pub(super) async fn upgrade_state(
    route: &Route,
    topic: &Topic,
    part: Part,
    saved: Option<&Saved>,
) -> Result<Upgraded, Fault> {
    match without_upgrade(route, part, saved) {
        Some(upgraded) => Ok(upgraded),
        None => Box::pin(run_upgrade(route, topic, part, saved)).await,
    }
}

/// A state that needn't be taken over.
pub(super) fn without_upgrade(route: &Route, part: Part, saved: Option<&Saved>) -> Option<Upgraded> {
    let fits = saved.is_none_or(|saved| saved.version == part.version(&route.spec) || saved.bytes.is_empty());
    fits.then(|| Upgraded { bytes: saved.map(|saved| saved.bytes.clone()), is_new: false })
}

async fn run_upgrade(route: &Route, topic: &Topic, part: Part, saved: Option<&Saved>) -> Result<Upgraded, Fault> {
    let old = saved.cloned().unwrap_or_default();
    let upgrade = Upgrade { topic: topic.clone(), part, version: old.version, state: old.bytes };
    let upgraded = route.behaviour.upgrade(&upgrade).await?;
    let is_new = upgraded.is_some();
    Ok(Upgraded { bytes: Some(upgraded.unwrap_or(upgrade.state)), is_new })
}

/// A room without bytes is as if nobody had written it.
fn written(room: &Upgraded) -> Option<Bytes> {
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
        |effect: &Effect| matches!(effect, Effect::SetTick(_) | Effect::PublishState(_) | Effect::TakeSeat { .. });
    if outcome.effects.iter().any(needs_room) {
        return Err(Fault::failed(
            "a beat, a seat or a published state was asked for, but the route has no room: its option `room` says whether it does (`type Room` in Rust)",
        ));
    }
    Ok(())
}

impl PluginCall {
    fn topic(&self) -> &Topic {
        match self {
            Self::Member(call) => &call.member.topic,
            Self::Topic(call) => &call.topic,
        }
    }

    /// Has it answered by one generation.
    fn run<'a>(&'a self, route: &'a Route) -> CallFuture<'a, Outcome> {
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

    fn use_state(&mut self, assigns: &Upgraded, room: &Upgraded) {
        match self {
            Self::Member(call) => {
                call.assigns = assigns.bytes.clone().unwrap_or_default();
                call.room = written(room);
            }
            Self::Topic(call) => call.room = written(room),
        }
    }
}

impl StateSnapshot {
    /// The states as the generation that `route` is of would have them, if it can.
    fn for_build(&self, route: &Route) -> Option<Self> {
        let former = |saved: &Option<Saved>, part| match saved {
            None => Some(None),
            Some(saved) => saved.for_build(route, part).map(Some),
        };
        Some(Self { assigns: former(&self.assigns, Part::Assigns)?, room: former(&self.room, Part::Room)? })
    }

    fn is_untouched(&self) -> bool {
        self.assigns.iter().chain(&self.room).all(Saved::is_untouched)
    }
}
