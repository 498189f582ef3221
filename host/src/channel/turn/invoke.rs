//! One plugin call, with the upgrades of states before it, and, while the generation is on probation, a second call of
//! the generation before it.

use std::sync::Arc;

use bytes::Bytes;

use super::fault_log::{Failed, FaultLine};
use super::persist::RetryDeadline;
use super::saved::{EntriesOfCall, Saved};
use crate::contract::{
    Answer, Call, CallFuture, CallInput, Effect, Fault, HttpJournal, Member, Outcome, Part, TopicCall, Upgrade,
};
use crate::entries::{EntryInput, PendingEntries, TopicEntries};
use crate::protocol::Topic;
use crate::routes::Route;
use crate::store::Draft;

/// A call of a plugin.
#[derive(Debug)]
pub(in crate::channel) enum PluginCall {
    /// A member's callback.
    Member(Call),
    /// A topic's callback.
    Topic(TopicCall),
}

/// The last committed states, as the input of a call.
#[derive(Debug, Default)]
pub(in crate::channel) struct StateSnapshot {
    pub(in crate::channel) assigns: Option<Saved>,
    pub(in crate::channel) room: Option<Saved>,
    /// The entries of the topic. A call doesn't change them before its commit.
    pub(in crate::channel) entries: Option<Arc<TopicEntries>>,
    /// The answers by HTTP that the runs of the call have got so far. None if the plugin may ask for none.
    pub(in crate::channel) http: Option<Arc<HttpJournal>>,
}

/// The result of a call: the parts of its outcome, and the states to commit in place of those of the outcome. It is moved
/// several times in a turn, so it has nothing twice.
#[derive(Debug)]
pub(in crate::channel) struct Evaluated {
    pub(in crate::channel) assigns: Option<Saved>,
    pub(in crate::channel) room: Option<Saved>,
    pub(in crate::channel) entries: Option<Box<PendingEntries>>,
    pub(in crate::channel) draft: Option<Box<Draft>>,
    pub(in crate::channel) effects: Vec<Effect>,
    pub(in crate::channel) answer: Answer,
    /// Whether nothing of the room is still to be stored. If it is set before the commit, the room is stored with it.
    pub(in crate::channel) is_room_stored: bool,
    /// Whether a part of it is in the store, so that it can't be discarded any more.
    pub(in crate::channel) is_stored: bool,
}

/// Calls the generation that serves the route. If that generation is on probation and the call fails, calls the generation
/// before it, whose answer may count instead.
pub(in crate::channel) async fn invoke(
    route: &Arc<Route>,
    call: &mut PluginCall,
    states: &StateSnapshot,
) -> Result<Evaluated, Fault> {
    // By value: a result that was borrowed here would have its place in the memory of each turn, while it is settled.
    let (is_outdated, result) = with_outdated(evaluate(route, call, states, false).await);
    if !is_outdated && route.trial().is_none() {
        return result;
    }
    Box::pin(settle(route, call, states, is_outdated, result)).await
}

/// Says whether a call has read what another host has changed meanwhile.
fn with_outdated(result: Result<Evaluated, Fault>) -> (bool, Result<Evaluated, Fault>) {
    (matches!(&result, Err(fault) if fault.is_outdated()), result)
}

/// Calls the generation again if its reads weren't of one moment, and the one before it if it fails on probation.
async fn settle(
    route: &Arc<Route>,
    call: &mut PluginCall,
    states: &StateSnapshot,
    is_outdated: bool,
    result: Result<Evaluated, Fault>,
) -> Result<Evaluated, Fault> {
    let result = if is_outdated { evaluate_again(route, call, states).await } else { result };
    if route.trial().is_none() {
        return result;
    }
    settle_on_probation(route, call, states, result).await
}

/// Calls a generation again whose call has read what another host has changed meanwhile, until its reads are of one moment.
async fn evaluate_again(route: &Arc<Route>, call: &mut PluginCall, states: &StateSnapshot) -> Result<Evaluated, Fault> {
    let deadline = RetryDeadline::new();
    loop {
        match evaluate(route, call, states, false).await {
            Err(fault) if fault.is_outdated() => deadline.check()?,
            result => return result,
        }
    }
}

/// Checks the result of a generation that is on probation. After a fault, the generation before it gets the same call.
async fn settle_on_probation(
    route: &Arc<Route>,
    call: &mut PluginCall,
    states: &StateSnapshot,
    result: Result<Evaluated, Fault>,
) -> Result<Evaluated, Fault> {
    let Some((probation, previous)) = route.trial() else { return result };
    let fault = match result {
        Ok(evaluated) => {
            probation.count_call();
            return Ok(evaluated);
        }
        Err(fault) => fault,
    };
    // The older generation can't run the call with a state that the new version created.
    let former = previous.and_then(|previous| Some((previous, states.for_build(previous)?)));
    let Some((previous, former)) = former else { return Err(fault) };
    let Ok(mut evaluated) = evaluate(previous, call, &former, true).await else { return Err(fault) };
    if let Some(draft) = &mut evaluated.draft {
        draft.commit_for(&route.owner);
    }
    probation.count_fault();
    if !states.is_untouched() {
        // The answer is for the state from before the upgrade: the commits since then would be lost.
        return Err(fault);
    }
    FaultLine {
        route: Some(route),
        topic: call.topic(),
        member: call.member(),
        failed: call.failed(),
        fault: &fault,
        answered_by: Some(previous.generation),
    }
    .write();
    Ok(evaluated)
}

/// Calls one generation. A generation without rooms gets no room, and doesn't change a room that another one has written.
/// `is_before` says whether the call sees the entries as they were at the topic's rollback point.
async fn evaluate(
    route: &Route,
    call: &mut PluginCall,
    states: &StateSnapshot,
    is_before: bool,
) -> Result<Evaluated, Fault> {
    let (old_assigns, old_room) = (states.assigns.as_ref(), states.room.as_ref().filter(|_| route.spec.has_room()));
    let assigns = upgrade_state(route, call.topic(), Part::Assigns, old_assigns).await?;
    let room = upgrade_state(route, call.topic(), Part::Room, old_room).await?;
    call.use_state(&assigns, &room);
    let entries = states.entries.as_ref().filter(|_| route.has_entries());
    let entries = entries.map(|topic| EntryInput {
        topic: Arc::clone(topic),
        version: route.spec.entries_version,
        keeps_old: route.trial().is_some_and(|(probation, _)| probation.can_roll_back()),
        is_before,
    });
    let outcome = call.run(route, CallInput { entries: entries.as_ref(), http: states.http.as_ref() }).await?;
    route.spec.check_room(outcome.room.is_some(), &outcome.effects)?;
    let Outcome { assigns: new_assigns, room: new_room, entries: pending, draft, effects, answer } = outcome;
    let (assigns, is_commit) = assigns.or_new(new_assigns);
    let assigns = assigns.map(|bytes| Saved::after_call(old_assigns, bytes, is_commit, route));
    let (room, is_commit) = room.or_new(new_room);
    let entries = EntriesOfCall { topic: states.entries.as_ref(), are_changed: pending.is_some() };
    let room = Saved::room_after_call(old_room, room, is_commit, entries, route);
    Ok(Evaluated { assigns, room, entries: pending, draft, effects, answer, is_room_stored: false, is_stored: false })
}

/// A state in the version of a build.
pub(in crate::channel) struct Upgraded {
    pub(in crate::channel) bytes: Option<Bytes>,
    /// Whether the build has upgraded it for this call.
    is_new: bool,
}

impl Upgraded {
    /// The bytes to commit: the new state that a callback returned, or else the upgraded one. Also returns whether the callback
    /// returned one.
    fn or_new(self, new: Option<Bytes>) -> (Option<Bytes>, bool) {
        match new {
            Some(new) => (Some(new), true),
            None if self.is_new => (self.bytes, false),
            None => (None, false),
        }
    }
}

/// A state in the version of this route's build.
pub(in crate::channel) async fn upgrade_state(
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

/// A state that needs no upgrade.
pub(in crate::channel) fn without_upgrade(route: &Route, part: Part, saved: Option<&Saved>) -> Option<Upgraded> {
    let version = part.version(&route.spec);
    let fits = saved.and_then(Saved::written_in).is_none_or(|written_in| written_in == version);
    fits.then(|| Upgraded { bytes: saved.map(|saved| saved.bytes.clone()), is_new: false })
}

async fn run_upgrade(route: &Route, topic: &Topic, part: Part, saved: Option<&Saved>) -> Result<Upgraded, Fault> {
    let old = saved.cloned().unwrap_or_default();
    let upgrade = Upgrade { topic: topic.clone(), part, version: old.version, state: old.bytes };
    let upgraded = route.behaviour.upgrade(&upgrade).await?;
    let is_new = upgraded.is_some();
    Ok(Upgraded { bytes: Some(upgraded.unwrap_or(upgrade.state)), is_new })
}

/// A room without bytes counts as one that nobody has written.
fn written(room: &Upgraded) -> Option<Bytes> {
    room.bytes.clone().filter(|bytes| !bytes.is_empty())
}

impl PluginCall {
    fn topic(&self) -> &Topic {
        match self {
            Self::Member(call) => &call.member.topic,
            Self::Topic(call) => &call.topic,
        }
    }

    /// Runs it on one generation.
    fn run<'a>(&'a self, route: &'a Route, input: CallInput<'a>) -> CallFuture<'a, Outcome> {
        match self {
            Self::Member(call) => route.behaviour.call(call, input),
            Self::Topic(call) => route.behaviour.call_topic(call, input),
        }
    }

    fn member(&self) -> Option<&Member> {
        match self {
            Self::Member(call) => Some(&call.member),
            Self::Topic(_) => None,
        }
    }

    /// The callback with its arguments, for the log.
    pub(in crate::channel) fn failed(&self) -> Failed<'_> {
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
    /// The states for a call of the generation of `route`, if there are any: those from before an upgrade. The failed call has
    /// not changed the entries. If earlier calls have, the call sees the entries from before.
    fn for_build(&self, route: &Route) -> Option<Self> {
        let former = |saved: &Option<Saved>, part| match saved {
            None => Some(None),
            Some(saved) => saved.for_build(route, part).map(Some),
        };
        let (assigns, room) = (former(&self.assigns, Part::Assigns)?, former(&self.room, Part::Room)?);
        // The failed build may have asked for nothing.
        let http = self.http.clone().or_else(|| route.http_journal());
        Some(Self { assigns, room, entries: self.entries.clone(), http })
    }

    fn is_untouched(&self) -> bool {
        self.assigns.iter().chain(&self.room).all(Saved::is_untouched)
    }
}
