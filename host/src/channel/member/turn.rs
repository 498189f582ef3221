//! A member's turn: one event, handled in the phase that the member is in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytestring::ByteString;
use futures_util::future::BoxFuture;

use super::callback::take_turn;
use super::channel::{Channel, Phase};
use super::ending::{
    end_with_close, end_with_error, end_without_callback, fail, leave, log_fault, panicked, terminate,
};
use super::event::MemberEvent;
use super::frames::Frames;
use super::guarded::guarded;
use super::join::join;
use crate::channel::turn::Failed;
use crate::contract::{Callback, Ending, Fault, Message, Source};
use crate::protocol::{Payload, Ref};
use crate::routes::OnFault;

/// Takes one turn, as far as nothing has to wait. Returns the rest of it, if there may be one.
pub(in crate::channel) fn take(channel: &Arc<Channel>, event: MemberEvent) -> Option<BoxFuture<'static, ()>> {
    // After a panic, the queue must continue.
    match catch_unwind(AssertUnwindSafe(|| turn(channel, event))) {
        Ok(Some(rest)) => return Some(rest),
        Ok(None) => {}
        Err(_) => panicked(channel),
    }
    channel.count_out();
    None
}

fn turn(channel: &Arc<Channel>, event: MemberEvent) -> Option<BoxFuture<'static, ()>> {
    match event {
        MemberEvent::In { event, payload, reference } => handle_in(channel, event, payload, reference),
        MemberEvent::Info(message) => handle_info(channel, message),
        MemberEvent::Timer(timer) => {
            let (event, payload) = channel.lock().timers.take(timer)?;
            let topic = channel.member.topic.clone();
            handle_info(channel, Message { source: Source::Own, topic, event, payload })
        }
        MemberEvent::Unrouted => {
            end_without_callback(channel);
            None
        }
        once => Some(guarded(channel, turn_once(Arc::clone(channel), once))),
    }
}

/// The turns that a member has at most once.
async fn turn_once(channel: Arc<Channel>, event: MemberEvent) {
    match event {
        MemberEvent::Join { params, reference, replaced } => {
            join(&channel, params, &reference).await;
            if let Some(join_ref) = &replaced {
                Frames::new(&channel, None).close(join_ref);
            }
        }
        MemberEvent::Leave { join_ref, reference } => leave(&channel, &join_ref, &reference).await,
        MemberEvent::Fault { fault, intercepted } => fail_or_keep(&channel, fault, intercepted).await,
        MemberEvent::Closed(fault) => end_with_error(&channel, Ending::Fault(fault.kind)).await,
        MemberEvent::Kicked(reason) => end_with_close(&channel, Ending::Kicked(reason.into())).await,
        MemberEvent::Gone(ending) => {
            if let Some(ended) = channel.finish() {
                terminate(&channel, ended, ending).await;
            }
        }
        MemberEvent::Replaced => {
            if let Some(ended) = channel.take_replaced() {
                terminate(&channel, ended, Ending::Replaced).await;
            }
        }
        MemberEvent::RolledBack => end_with_error(&channel, Ending::RolledBack).await,
        // For the plugin, it is like a connection that was lost: the client comes back, and may have missed something.
        MemberEvent::MissedMessages => end_with_error(&channel, Ending::Closed).await,
        MemberEvent::In { .. } | MemberEvent::Info(_) | MemberEvent::Timer(_) | MemberEvent::Unrouted => {}
    }
}

fn handle_in(
    channel: &Arc<Channel>,
    event: ByteString,
    payload: Payload,
    reference: Ref,
) -> Option<BoxFuture<'static, ()>> {
    let state = channel.lock();
    match state.phase {
        Phase::Joined => {
            let reply_ref = (!reference.is_null()).then(|| reference.to_json());
            take_turn(channel, state, Callback::In { event, payload, reply_ref }, Some(reference))
        }
        Phase::Ended => {
            drop(state);
            let reason = Payload::reason("unmatched topic");
            Frames::new(channel, None).answer(&Ref::NULL, &reference, "error", &reason);
            None
        }
        Phase::Joining | Phase::Replaced => None,
    }
}

fn handle_info(channel: &Arc<Channel>, message: Message) -> Option<BoxFuture<'static, ()>> {
    let state = channel.lock();
    if state.phase == Phase::Joined { take_turn(channel, state, Callback::Info(message), None) } else { None }
}

/// The host failed to do something for it, outside its turns.
async fn fail_or_keep(channel: &Arc<Channel>, fault: Fault, intercepted: Option<ByteString>) {
    channel.fault_handled();
    let (phase, plugin) = {
        let state = channel.lock();
        (state.phase, state.plugin.clone())
    };
    // A member that has ended in the meantime can't end again.
    if phase != Phase::Joined {
        return;
    }
    let callback = if intercepted.is_some() { "handle_out" } else { "" };
    let failed = Failed { event: intercepted.as_deref(), ..Failed::in_callback(callback) };
    let route = channel.route(plugin.as_ref());
    if route.as_ref().is_some_and(|route| route.spec.on_fault == OnFault::Keep) {
        return log_fault(channel, route.as_ref(), failed, &fault);
    }
    fail(channel, route.as_ref(), failed, fault).await;
}
