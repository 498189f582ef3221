//! One call, with the upgrades of states and entries before it, and the checks of its result.

use bennu_semantics::limits::NodeLimits;
use bennu_semantics::{
    Answer, Callback, Decision, Effect, Fault, MemberUsage, Need, Passing, Payload, Recipient, RouteSpec, Topic,
    TopicCall, TopicCallback,
};
use bytestring::ByteString;

use crate::context::CallEnd;
use crate::entries::{CallEntries, PendingEntries};
use crate::stored::Stored;
use crate::{CallContext, CallOutcome, Callbacks, HostFacts, Level, MemberCall, Saved, SocketFacts, StateSnapshot};

/// A callback to call.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one exists at a time, on the stack of one call")]
pub enum CallRequest {
    /// A callback of a member.
    Member {
        /// The member's number.
        id: u64,
        /// The values of its socket.
        socket: SocketFacts,
        /// Its resources at the host.
        usage: MemberUsage,
        /// The callback.
        callback: Callback,
    },
    /// A callback of a topic.
    Topic(TopicCallback),
}

/// The result of a call that succeeded. Nothing of it is carried out yet.
#[derive(Debug)]
pub struct Turn {
    /// The answer to the client, or to the sender.
    pub answer: Answer,
    /// The states after the call.
    pub states: StateSnapshot,
    /// Its effects, in order.
    pub effects: Vec<Effect>,
    /// The content of the store after the call.
    pub stored: Stored,
    /// The changes of the topic's entries, if there are any.
    pub entries: Option<PendingEntries>,
}

/// The result of a call, and its log lines.
pub type Asked<T> = (Result<T, Fault>, Vec<(Level, String)>);

/// Calls a callback of a route's topic with these states.
pub fn ask(
    callbacks: &mut impl Callbacks,
    host: &mut HostFacts,
    (spec, topic): (&RouteSpec, &Topic),
    states: &StateSnapshot,
    request: &CallRequest,
) -> Asked<Turn> {
    let states = match states.upgraded(callbacks, host, (spec, topic)) {
        Ok(states) => states,
        Err(fault) => return (Err(fault), Vec::new()),
    };
    if let Some(Err(fault)) = states.entries.as_ref().map(|entries| entries.publish(&spec.publishes)) {
        return (Err(fault), Vec::new());
    }
    let mut entries = states.entries.as_ref().map(|entries| CallEntries::new(entries, spec));
    loop {
        let (checked, end) = run(callbacks, std::mem::take(host), topic, &states, entries.take(), request.clone());
        let CallEnd { host: facts, stored, entries: called, effects, lines } = end;
        *host = facts;
        match called {
            Some(mut called) if called.needs_upgrade() => {
                if let Err(fault) = called.upgrade(callbacks, host, topic) {
                    return (Err(fault), lines);
                }
                // The same call runs again. The first run has had no effect.
                entries = Some(called);
            }
            called => {
                let turned = checked.and_then(|outcome| {
                    spec.check_room(outcome.room.is_some(), &effects)?;
                    let CallOutcome { assigns, room, answer } = outcome;
                    let entries = called.and_then(CallEntries::into_pending);
                    Ok(Turn { answer, states: states.and(spec, assigns, room), effects, stored, entries })
                });
                return (turned, lines);
            }
        }
    }
}

/// Runs a call once, and checks its result.
fn run(
    callbacks: &mut impl Callbacks,
    host: HostFacts,
    topic: &Topic,
    states: &StateSnapshot,
    entries: Option<CallEntries>,
    request: CallRequest,
) -> (Result<CallOutcome, Fault>, CallEnd) {
    let (assigns, room) = states.bytes();
    let (called, mut context) = match request {
        CallRequest::Member { id, socket, usage, callback } => {
            let mut context =
                CallContext::of_member(host, topic, socket, usage, callback.given()).with_entries(entries);
            if matches!(callback, Callback::Terminate(_)) {
                context = context.without_http();
            }
            let call = MemberCall { id, topic: topic.clone(), assigns, room, callback };
            (callbacks.call(call, &mut context), context)
        }
        CallRequest::Topic(callback) => {
            let mut context = CallContext::of_topic(host, topic, &callback).with_entries(entries);
            let call = TopicCall { topic: topic.clone(), room, callback };
            (callbacks.call_topic(call, &mut context), context)
        }
    };
    let checked = called.and_then(|outcome| check(&mut context, &outcome).map(|()| outcome));
    (checked, context.end())
}

/// Checks the result of a callback, in a host's order.
fn check(context: &mut CallContext, outcome: &CallOutcome) -> Result<(), Fault> {
    let record = context.record();
    outcome.assigns.iter().try_for_each(|assigns| record.check_assigns(assigns))?;
    outcome.room.iter().try_for_each(|room| record.check_room(room))?;
    match &outcome.answer {
        Answer::None => Ok(()),
        Answer::Reply(reply) => record.check_reply(reply),
        Answer::Stop(stop) => stop.reply.iter().try_for_each(|reply| record.check_reply(reply)),
        Answer::Admit(response) | Answer::Refuse(response) => record.check_response(response),
    }
}

/// Calls `handle_out` about an intercepted event, for a member with this state.
///
/// # Errors
/// If the callback failed.
pub fn decide(
    callbacks: &mut impl Callbacks,
    host: &mut HostFacts,
    (spec, topic): (&RouteSpec, &Topic),
    (member, assigns): (u64, Saved),
    (event, payload): (ByteString, Payload),
) -> Result<Decision, Fault> {
    let standing = StateSnapshot { assigns: Some(assigns), ..StateSnapshot::default() };
    let (assigns, _) = standing.upgraded(callbacks, host, (spec, topic))?.bytes();
    let passing = Passing { topic: topic.clone(), event, payload, recipients: vec![Recipient { id: member, assigns }] };
    let mut context = CallContext::reading(std::mem::take(host));
    let decided = callbacks.filter(passing, &mut context).and_then(|mut decisions| {
        let decision = decisions.pop().unwrap_or(Decision::Pass);
        context.check_decision(&decision).map(|()| decision)
    });
    *host = context.end().host;
    decided
}

/// Checks that a member's queue has room for a call's messages to the member itself. `count` and `bytes` are those in
/// the queue.
///
/// # Errors
/// Fault: overflow.
pub fn check_mailbox(effects: &[Effect], (mut count, mut bytes): (usize, usize)) -> Result<(), Fault> {
    for effect in effects {
        match effect.need() {
            Need::Mailbox(more) => {
                count += 1;
                bytes += more;
            }
            Need::Timer(more) => bytes += more,
            Need::Nothing | Need::Room | Need::Audience(_) | Need::Message(..) | Need::Addressees => {}
        }
    }
    let limits = NodeLimits::default();
    if count > limits.from_elsewhere || bytes > limits.bytes_from_elsewhere { Err(Fault::overflow()) } else { Ok(()) }
}
