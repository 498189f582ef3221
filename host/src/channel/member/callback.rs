//! One callback of a member, and its commit.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};

use futures_util::future::BoxFuture;

use super::channel::{Channel, EndedMember, State};
use super::commit::{commit, commit_if_in, may_commit};
use super::ending::{end_with_error, end_without_callback, fail, log_fault, terminate};
use super::frames::Frames;
use super::guarded::guarded;
use super::members::{open_room, settle_room};
use crate::channel::room::{needs_persisting, persist};
use crate::channel::turn::{Evaluated, Persisted, PluginCall, RetryDeadline, Saved, StateSnapshot, invoke};
use crate::contract::{Call, Callback, Ending, Fault, Reply};
use crate::protocol::{Payload, Ref};
use crate::routes::{OnFault, Route};

/// One callback of a member, and its commit, as far as nothing has to wait. Returns the rest of it, if there may be
/// one.
pub(in crate::channel::member) fn take_turn(
    channel: &Arc<Channel>,
    mut state: MutexGuard<'_, State>,
    callback: Callback,
    reference: Option<Ref>,
) -> Option<BoxFuture<'static, ()>> {
    let (call, assigns) = channel.call(&mut state, callback);
    let route = channel.route(state.plugin.as_ref());
    drop(state);
    let Some(route) = route else {
        end_without_callback(channel);
        return None;
    };
    let own = Arc::clone(channel);
    if channel.topic_turns().is_some_and(|topic| settle_room(topic)) || assigns.must_roll_back() {
        return Some(guarded(channel, async move { end_with_error(&own, Ending::RolledBack).await }));
    }
    Some(guarded(channel, call_and_commit(own, route, PluginCall::Member(call), assigns, reference)))
}

/// Calls the plugin, and calls it again while another commit has changed the reads of the call. The steps that few turns
/// need are boxed, so that the other turns need no memory for them.
fn call_and_commit(
    channel: Arc<Channel>,
    route: Arc<Route>,
    mut call: PluginCall,
    assigns: Saved,
    reference: Option<Ref>,
) -> impl Future<Output = ()> + Send + 'static {
    let mut states = StateSnapshot { assigns: Some(assigns), http: route.http_journal(), ..StateSnapshot::default() };
    let mut deadline = None;
    async move {
        if let Some(topic) = channel.topic_turns().filter(|_| route.spec.has_room())
            && let Err(fault) = Box::pin(open_room(topic, &route)).await
        {
            return Box::pin(end_or_keep(&channel, &route, &call, fault, reference.as_ref())).await;
        }
        (states.room, states.entries) = channel.room_states(&route);
        loop {
            let result = invoke(&route, &mut call, &states).await;
            let Some(rest) = conclude(&channel, &route, &call, result, reference.as_ref(), &mut deadline) else {
                return;
            };
            if rest.await == ControlFlow::Break(()) {
                return;
            }
            if channel.switched_route(&route).is_some()
                && let PluginCall::Member(Call { callback, .. }) = call
            {
                // As if the turn had begun only now: a rollback may have changed the state.
                if let Some(rest) = take_turn(&channel, channel.lock(), callback, reference) {
                    rest.await;
                }
                return;
            }
        }
    }
}

/// The rest of a commit. It says whether to call the plugin again.
type Rest<'a> = Pin<Box<dyn Future<Output = ControlFlow<()>> + Send + 'a>>;

/// Commits the result of a call, as far as nothing has to wait. Returns the rest of it, if there is one.
fn conclude<'a>(
    channel: &'a Arc<Channel>,
    route: &'a Arc<Route>,
    call: &'a PluginCall,
    result: Result<Evaluated, Fault>,
    reference: Option<&'a Ref>,
    deadline: &'a mut Option<RetryDeadline>,
) -> Option<Rest<'a>> {
    let committed = match result {
        Ok(evaluated) if needs_persisting(route, &evaluated) => {
            return Some(Box::pin(async move {
                match persist_and_commit(channel, route, evaluated, reference, deadline).await {
                    Ok(ControlFlow::Continue(())) => return ControlFlow::Continue(()),
                    Ok(ControlFlow::Break(None)) => {}
                    Ok(ControlFlow::Break(Some((ended, ending)))) => terminate(channel, ended, ending).await,
                    Err(fault) => end_or_keep(channel, route, call, fault, reference).await,
                }
                ControlFlow::Break(())
            }));
        }
        Ok(evaluated) => commit_if_in(channel, evaluated, reference),
        Err(fault) => Err(fault),
    };
    match committed {
        Ok(None) => None,
        Ok(Some((ended, ending))) => Some(Box::pin(async move {
            terminate(channel, ended, ending).await;
            ControlFlow::Break(())
        })),
        Err(fault) => Some(Box::pin(async move {
            end_or_keep(channel, route, call, fault, reference).await;
            ControlFlow::Break(())
        })),
    }
}

/// Stores the writes of a call, and commits the rest. After a conflict the call has to run again.
async fn persist_and_commit(
    channel: &Arc<Channel>,
    route: &Route,
    mut evaluated: Evaluated,
    reference: Option<&Ref>,
    deadline: &mut Option<RetryDeadline>,
) -> Result<ControlFlow<Option<(EndedMember, Ending)>>, Fault> {
    if !may_commit(channel, &channel.lock(), &evaluated, reference)? {
        return Ok(ControlFlow::Break(None));
    }
    let topic = channel.topic_turns().map(|topic| &**topic);
    match persist(channel.services(), topic, route, &mut evaluated).await? {
        Persisted::Done => Ok(ControlFlow::Break(commit(channel, channel.lock(), evaluated, reference))),
        Persisted::Conflict => deadline.get_or_insert_with(RetryDeadline::new).check().map(ControlFlow::Continue),
    }
}

/// A callback has failed. The route says whether the member ends.
async fn end_or_keep(channel: &Arc<Channel>, route: &Arc<Route>, call: &PluginCall, fault: Fault, to: Option<&Ref>) {
    if route.spec.on_fault == OnFault::Keep {
        log_fault(channel, Some(route), call.failed(), &fault);
        return answer_fault(channel, to);
    }
    fail(channel, Some(route), call.failed(), fault).await;
}

/// Answers the message of a member that stays after a fault.
fn answer_fault(channel: &Channel, reference: Option<&Ref>) {
    let Some(reference) = reference else { return };
    let audience = channel.lock().subscription.as_ref().map(|subscription| Arc::clone(subscription.audience()));
    let reply = Reply { status: "error".into(), payload: Payload::reason("channel_crash") };
    Frames::new(channel, audience.as_deref()).reply(reference, &reply);
}
