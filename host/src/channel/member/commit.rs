//! Commits: the outcome of a call is carried out, in this order: state, effects, answer.
//!
//! Everything that can be refused was refused when the plugin asked for it. The queues alone are checked here, before
//! anything is done.

use std::sync::{Arc, MutexGuard};

use super::channel::{Channel, EndedMember, Phase, State};
use super::effects::{self, EffectScope, carry_out};
use super::frames::Frames;
use crate::channel::room::publish_entries;
use crate::channel::turn::Evaluated;
use crate::contract::{Answer, Effect, Ending, Fault, Need, Stop};
use crate::protocol::Ref;
use crate::pubsub::Audience;

/// Commits the result of a callback, which [may be committed](may_commit), and answers `reference`. Returns the
/// remains of a member that the plugin stopped. If the member ended while the store was written, only effects on others
/// are carried out.
pub(in crate::channel::member) fn commit(
    channel: &Arc<Channel>,
    mut state: MutexGuard<'_, State>,
    evaluated: Evaluated,
    reference: Option<&Ref>,
) -> Option<(EndedMember, Ending)> {
    let Evaluated { assigns, room, entries, effects, answer: answered, is_room_stored, .. } = evaluated;
    if let Some(topic) = channel.topic_turns() {
        publish_entries(topic, topic.save(room, entries, is_room_stored));
    }
    if state.phase != Phase::Joined {
        if let (Some(assigns), Some(replaced)) = (assigns, &mut state.replaced) {
            replaced.assigns = assigns;
        }
        drop(state);
        carry_out(effects, EffectScope::of_member(channel, None, None));
        return None;
    }
    if let Some(assigns) = assigns {
        state.assigns = assigns;
    }
    channel.roll_back_late(&state);
    let audience = state.subscription.as_ref().map(|subscription| Arc::clone(subscription.audience()));
    let audience = audience.as_deref();
    carry_out(effects, EffectScope::of_member(channel, audience, Some(&mut state)));
    answer(channel, &mut state, audience, answered, reference)
}

/// Whether the result can be committed. False if the member ended during the callback: then nothing is done.
///
/// # Errors
/// If the result can't be committed for another reason.
pub(in crate::channel::member) fn may_commit(
    channel: &Channel,
    state: &State,
    evaluated: &Evaluated,
    reference: Option<&Ref>,
) -> Result<bool, Fault> {
    if state.phase != Phase::Joined {
        return Ok(false);
    }
    let answers_nobody = matches!(evaluated.answer, Answer::Reply(_)) && reference.is_none();
    if answers_nobody || matches!(evaluated.answer, Answer::Admit(_) | Answer::Refuse(_)) {
        return Err(Fault::unanswerable());
    }
    let audience = state.subscription.as_ref().map(|subscription| &**subscription.audience());
    if !has_room_for(channel, audience, &evaluated.effects, state.timers.bytes()) {
        return Err(Fault::overflow());
    }
    Ok(true)
}

/// Checks and commits, if there is nothing to store.
///
/// # Errors
/// See [`may_commit`].
pub(in crate::channel::member) fn commit_if_in(
    channel: &Arc<Channel>,
    mut evaluated: Evaluated,
    reference: Option<&Ref>,
) -> Result<Option<(EndedMember, Ending)>, Fault> {
    evaluated.is_room_stored = true;
    let state = channel.lock();
    let may = may_commit(channel, &state, &evaluated, reference)?;
    Ok(if may { commit(channel, state, evaluated, reference) } else { None })
}

fn answer(
    channel: &Channel,
    state: &mut State,
    audience: Option<&Audience>,
    answer: Answer,
    reference: Option<&Ref>,
) -> Option<(EndedMember, Ending)> {
    let frames = Frames::new(channel, audience);
    match answer {
        Answer::Reply(reply) => reference.into_iter().for_each(|reference| frames.reply(reference, &reply)),
        Answer::Stop(Stop { reason, reply }) => {
            if let (Some(reply), Some(reference)) = (&reply, reference) {
                frames.reply(reference, reply);
            }
            let ended = channel.leave_state(state, Phase::Ended);
            frames.close(channel.mark());
            return Some((ended, Ending::Stopped(reason)));
        }
        Answer::None | Answer::Admit(_) | Answer::Refuse(_) => {}
    }
    None
}

/// Whether the queues for these effects have room for them, in addition to the bytes of the member's timers.
pub(in crate::channel::member) fn has_room_for(
    channel: &Channel,
    audience: Option<&Audience>,
    effects: &[Effect],
    timer_bytes: usize,
) -> bool {
    let (mut own, mut bytes) = (0, timer_bytes);
    for effect in effects {
        match effect.need() {
            Need::Mailbox(more) => {
                own += 1;
                bytes += more;
            }
            Need::Timer(more) => bytes += more,
            Need::Nothing | Need::Room | Need::Audience(_) | Need::Message(..) | Need::Addressees => {}
        }
    }
    let has_room = channel.has_room(own, bytes) && effects::has_room_for(&channel.topics, effects);
    // One more for the answer.
    has_room && audience.is_none_or(|audience| audience.has_room(effects.len() + 1))
}
