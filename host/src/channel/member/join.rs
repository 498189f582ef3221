//! Joins: the first turn of a membership.

use std::sync::Arc;

use super::channel::{Channel, EndedMember, Phase};
use super::commit::has_room_for;
use super::effects::{EffectScope, carry_out};
use super::ending::{log_fault, terminate};
use super::event::MemberEvent;
use super::frames::{Frames, encode};
use super::members::{open_room, settle_room};
use super::recovery::{Since, subscribe_again};
use crate::channel::room::{entries_to_show, persist, publish_entries, show, show_entries};
use crate::channel::turn::{Evaluated, Failed, Persisted, PluginCall, RetryDeadline, StateSnapshot, invoke};
use crate::contract::{Answer, Callback, Ending, Fault, Follows};
use crate::protocol::{Outbound, Payload, Ref, To};
use crate::pubsub::{EntriesState, Subscriber, Subscription};
use crate::routes::Route;

/// A join's turn.
pub(in crate::channel::member) async fn join(channel: &Arc<Channel>, params: Payload, reference: &Ref) {
    if channel.lock().phase != Phase::Joining {
        return;
    }
    let frames = Frames::new(channel, None);
    if channel.member.id == Channel::NUMBERLESS {
        tracing::error!(
            topic = channel.topic(),
            "a join is refused: this node has no number for a member, and gets none"
        );
        channel.finish();
        // The client tries it again.
        return frames.error();
    }
    let Some(mut route) = channel.route(None) else {
        channel.finish();
        // The same answer as for a topic without a route: there was never a channel.
        return frames.answer(&Ref::NULL, reference, "error", &Payload::reason("unmatched topic"));
    };
    let since = route.spec.history.and_then(|_| Since::read(&params));
    match call_join(channel, &mut route, params).await {
        Ok((Evaluated { answer: Answer::Refuse(response), .. }, _)) => {
            if channel.finish().is_some() {
                frames.answer(channel.join_ref(), reference, "error", &response);
            }
        }
        Ok((evaluated, entries)) => {
            // If the connection ended while the store was written, the member has joined, and it ends now.
            if let Some(ended) = admit(channel, &route, evaluated, (entries.as_ref(), since), reference) {
                terminate(channel, ended, Ending::Closed).await;
            }
        }
        Err(fault) => {
            log_fault(channel, Some(&route), Failed::in_callback("join"), &fault);
            if channel.finish().is_some() {
                frames.answer(channel.join_ref(), reference, "error", &Payload::reason("join crashed"));
            }
        }
    }
}

/// Calls the plugin, and stores the writes of the call if the plugin admits the client. Also returns the published entries
/// that the client gets, as they were before these writes. If another generation begins to serve before they are stored, `route` is
/// that one's afterwards.
async fn call_join(
    channel: &Channel,
    route: &mut Arc<Route>,
    params: Payload,
) -> Result<(Evaluated, Option<EntriesState>), Fault> {
    let mut states = states_of_join(channel, route).await?;
    let (call, _) = channel.call(&mut channel.lock(), Callback::Join(params));
    let mut call = PluginCall::Member(call);
    let deadline = RetryDeadline::new();
    loop {
        let mut evaluated = invoke(route, &mut call, &states).await?;
        match &evaluated.answer {
            Answer::Refuse(_) => return Ok((evaluated, None)),
            Answer::Admit(_) => {}
            Answer::None | Answer::Reply(_) | Answer::Stop(_) => {
                return Err(Fault::failed("a join must be admitted or refused"));
            }
        }
        if !has_room_for(channel, None, &evaluated.effects, 0) {
            return Err(Fault::overflow());
        }
        if channel.lock().phase != Phase::Joining {
            return Ok((evaluated, None));
        }
        let topic = channel.topic_turns().map(|topic| &**topic);
        let entries = match topic.filter(|_| !route.spec.publishes.is_empty()) {
            Some(topic) => {
                let followed = Follows::after_join(&evaluated.effects);
                entries_to_show(topic, followed.as_ref()).await?
            }
            None => None,
        };
        match persist(channel.services(), topic, route, &mut evaluated).await? {
            Persisted::Done => return Ok((evaluated, entries)),
            Persisted::Conflict => {
                deadline.check()?;
                if let Some(switched) = channel.switched_route(route) {
                    *route = switched;
                    states = states_of_join(channel, route).await?;
                }
            }
        }
    }
}

/// The states that a join sees. Opens the room, if there is one.
async fn states_of_join(channel: &Channel, route: &Arc<Route>) -> Result<StateSnapshot, Fault> {
    if let Some(topic) = channel.topic_turns() {
        open_room(topic, route).await?;
        settle_room(topic);
    }
    let (room, entries) = channel.room_states(route);
    Ok(StateSnapshot { assigns: None, room, entries, http: route.http_journal() })
}

/// Commits a join: reply, subscription, effects. If the connection ended while the store was written, returns the member's
/// remains.
fn admit(
    channel: &Arc<Channel>,
    route: &Arc<Route>,
    evaluated: Evaluated,
    (published, since): (Option<&EntriesState>, Option<Since>),
    reference: &Ref,
) -> Option<EndedMember> {
    let Evaluated { assigns, room, entries, effects, answer, is_room_stored, is_stored, .. } = evaluated;
    let Answer::Admit(response) = answer else { return None };
    let save_room = || channel.topic_turns().map_or_else(Vec::new, |topic| topic.save(room, entries, is_room_stored));
    let mut state = channel.lock();
    if state.phase != Phase::Joining {
        if !is_stored {
            return None;
        }
        drop(state);
        let changes = save_room();
        if let Some(topic) = channel.topic_turns() {
            publish_entries(topic, changes);
        }
        carry_out(effects, EffectScope::of_member(channel, None, None));
        let (assigns, plugin) = (assigns.unwrap_or_default(), Some(Arc::clone(&route.plugin)));
        return Some(EndedMember { assigns, plugin, audience: None, seat: None });
    }
    state.phase = Phase::Joined;
    state.assigns = assigns.unwrap_or_default();
    state.plugin = Some(Arc::clone(&route.plugin));
    channel.roll_back_late(&state);
    let changes = save_room();
    let subscription = subscribe(channel, route, since, (reference, &response));
    let audience = Arc::clone(subscription.audience());
    if let Some(topic) = channel.topic_turns() {
        match published {
            Some(published) => {
                let followed = Follows::after_join(&effects);
                show_entries(topic, &subscription, followed.as_ref(), published);
            }
            None => show(topic, &subscription),
        }
        // After the entries as they were before, so that this member gets these changes like any other.
        publish_entries(topic, changes);
    }
    state.subscription = Some(subscription);
    carry_out(effects, EffectScope::of_member(channel, Some(&audience), Some(&mut state)));
    drop(state);
    // Its route may have been removed during the call. A sweep at that time didn't find this member.
    if channel.route(Some(&route.plugin)).is_none() {
        channel.post_ending(MemberEvent::Unrouted);
    }
    tracing::debug!(topic = channel.topic(), member = channel.member.id, plugin = &*route.plugin, "channel_joined");
    None
}

/// Subscribes it to its topic, and sends the reply to its join at the same moment. So the client gets every broadcast
/// after the reply, and none before it. If the route keeps a history, the broadcasts that it has missed come first.
fn subscribe(
    channel: &Arc<Channel>,
    route: &Arc<Route>,
    since: Option<Since>,
    (reference, response): (&Ref, &Payload),
) -> Subscription {
    // The reply has the join ref as the client sent it, perhaps null. Later frames carry the mark.
    let (join_ref, to) = (channel.join_ref(), To::Topic(channel.topic()));
    let reply = encode(channel, Outbound::Reply { join_ref, reference, to, status: "ok", payload: response });
    let subscriber = Subscriber {
        id: channel.member.id,
        serializer: channel.connection.serializer,
        deflates: channel.connection.deflates,
        has_numbers: since.is_some(),
        outbox: Arc::clone(&channel.connection.outbox),
        member: Arc::clone(channel) as _,
    };
    subscribe_again(channel, route, since, &subscriber, reply.as_ref())
}
