//! The end of a member: its last callback, and its last frames.

use std::sync::Arc;

use super::channel::{Channel, EndedMember};
use super::effects::{EffectScope, carry_out};
use super::frames::Frames;
use super::members::{open_room, settle_room};
use super::seat::vacate;
use crate::channel::room::{persist, publish_entries};
use crate::channel::turn::{
    Evaluated, Failed, FaultLine, Persisted, PluginCall, RetryDeadline, Settled, StateSnapshot, invoke,
};
use crate::clients::FaultCause;
use crate::contract::{Callback, Departure, Ending, Fault};
use crate::protocol::{Payload, Ref};
use crate::routes::{OnFault, Route};

/// The client leaves.
pub(in crate::channel::member) async fn leave(channel: &Arc<Channel>, join_ref: &Ref, reference: &Ref) {
    let Some(ended) = channel.finish() else {
        // Leaving a topic that isn't joined succeeds, too.
        return Frames::new(channel, None).answer(join_ref, reference, "ok", &Payload::EMPTY);
    };
    let audience = ended.audience.clone();
    let frames = Frames::new(channel, audience.as_deref());
    frames.answer(channel.mark(), reference, "ok", &Payload::EMPTY);
    frames.close(channel.mark());
    terminate(channel, ended, Ending::Left).await;
}

/// A fault ends it.
pub(in crate::channel::member) async fn fail(
    channel: &Arc<Channel>,
    route: Option<&Arc<Route>>,
    failed: Failed<'_>,
    fault: Fault,
) {
    log_fault(channel, route, failed, &fault);
    end_with_error(channel, Ending::Fault(fault.kind)).await;
}

/// Ends it so that its client joins again: `terminate` with the last committed assigns, then `phx_error`.
pub(in crate::channel::member) async fn end_with_error(channel: &Arc<Channel>, ending: Ending) {
    let Some(ended) = channel.finish() else { return };
    let audience = ended.audience.clone();
    terminate(channel, ended, ending).await;
    Frames::new(channel, audience.as_deref()).error();
}

/// Ends it so that its client doesn't join again by itself: `phx_close`, then `terminate`.
pub(in crate::channel::member) async fn end_with_close(channel: &Arc<Channel>, ending: Ending) {
    let Some(ended) = channel.finish() else { return };
    let audience = ended.audience.clone();
    Frames::new(channel, audience.as_deref()).close(channel.mark());
    terminate(channel, ended, ending).await;
}

/// Ends it without a callback: no plugin serves it, or the host failed.
pub(in crate::channel::member) fn end_without_callback(channel: &Channel) {
    if let Some(ended) = channel.finish() {
        vacate(channel, ended.seat, Departure::Drops);
        Frames::new(channel, ended.audience.as_deref()).error();
    }
}

/// A turn of it panicked, which is a fault of the host. It ends as after a fault of its plugin.
pub(in crate::channel::member) fn panicked(channel: &Channel) {
    tracing::error!(topic = channel.topic(), "a fault of the host: a turn panicked");
    end_without_callback(channel);
}

/// The last callback. Effects on the member's own state are left out, because the member is gone.
pub(in crate::channel::member) async fn terminate(channel: &Arc<Channel>, ended: EndedMember, ending: Ending) {
    let EndedMember { mut assigns, plugin, audience, seat } = ended;
    vacate(channel, seat, Departure::from(&ending));
    let Some(mut route) = channel.route(plugin.as_ref()) else { return };
    match assigns.settle(&channel.member.topic) {
        Settled::Unchanged => {}
        Settled::RolledBack(Some(former)) => assigns = former,
        // A build that was rolled back created it, and no other build can read it.
        Settled::RolledBack(None) => return,
    }
    if let Some(topic) = channel.topic_turns() {
        // The room may have ended since, if the member was replaced.
        if let Err(fault) = open_room(topic, &route).await {
            return log_fault(channel, Some(&route), Failed::in_callback("terminate"), &fault);
        }
        settle_room(topic);
    }
    let (room, entries) = channel.room_states(&route);
    let mut states = StateSnapshot { assigns: Some(assigns), room, entries, ..StateSnapshot::default() };
    let (call, _) = channel.call(&mut channel.lock(), Callback::Terminate(ending));
    let mut call = PluginCall::Member(call);
    // Boxed because a member needs it only once. Otherwise each of its turns would need the memory for it.
    match Box::pin(call_and_persist(channel, &mut route, &mut call, &mut states)).await {
        Ok(Evaluated { room, entries, effects, is_room_stored, .. }) => {
            if let Some(topic) = channel.topic_turns() {
                publish_entries(topic, topic.save(room, entries, is_room_stored));
            }
            carry_out(effects, EffectScope::of_member(channel, audience.as_deref(), None));
        }
        Err(fault) => log_fault(channel, Some(&route), Failed::in_callback("terminate"), &fault),
    }
}

/// Calls the plugin, and stores the writes of the call. Nothing is checked: no outcome of `terminate` is refused.
async fn call_and_persist(
    channel: &Channel,
    route: &mut Arc<Route>,
    call: &mut PluginCall,
    states: &mut StateSnapshot,
) -> Result<Evaluated, Fault> {
    let topic = channel.topic_turns().map(|topic| &**topic);
    let deadline = RetryDeadline::new();
    loop {
        let mut evaluated = invoke(route, call, states).await?;
        match persist(channel.services(), topic, route, &mut evaluated).await? {
            Persisted::Done => return Ok(evaluated),
            Persisted::Conflict => {
                deadline.check()?;
                if let Some(switched) = channel.switched_route(route) {
                    *route = switched;
                    if let Some(topic) = channel.topic_turns() {
                        settle_room(topic);
                    }
                    (states.room, states.entries) = channel.room_states(route);
                }
            }
        }
    }
}

/// Counts and logs a fault of one of its callbacks.
pub(in crate::channel::member) fn log_fault(
    channel: &Channel,
    route: Option<&Arc<Route>>,
    failed: Failed<'_>,
    fault: &Fault,
) {
    channel.services().count_fault();
    if let Some(route) = route.filter(|_| fault.is_of_call()) {
        let is_join = failed.callback == "join";
        channel.services().clients.on_fault(&FaultCause {
            plugin: &route.plugin,
            generation: route.generation,
            calls: route.behaviour.calls(),
            client: channel.member.socket.limited(),
            // Other callbacks of a member may be due to other clients.
            is_caused_by_client: is_join || matches!(failed.callback, "handle_in" | "terminate"),
            ends_member: !is_join && failed.callback != "terminate" && route.spec.on_fault == OnFault::End,
        });
    }
    let (route, member) = (route.map(|route| &**route), Some(&*channel.member));
    FaultLine { route, topic: &channel.member.topic, member, failed, fault, answered_by: None }.write();
}
