//! The delivery of changes of published entries, and of their whole state to members that join.

use std::sync::Arc;

use bytestring::ByteString;

use super::published_entries::PublishedEntries;
use super::publishing::start_catch_up;
use super::topics::TopicTurns;
use crate::contract::Fault;
use crate::counts::Limit;
use crate::entries::{Followed, PublishedChange, TopicEntries};
use crate::pubsub::{EntriesState, EntriesUpdate, Subscription};
use crate::routes::Route;

/// If the patch for a joining member is longer than this part of the text, the text is made again.
const PATCH_SHARE: usize = 8;

/// Publishes the entries that the route publishes. If these aren't the same as before, all published entries are checked and
/// counted again, and the members get their whole state.
///
/// # Errors
/// Fault: failed, if one of the entries can't be published. Fault: store, if the entries can't be read.
pub(in crate::channel) async fn open_published(topic: &TopicTurns, route: &Route) -> Result<(), Fault> {
    let publishes = &route.spec.publishes;
    let entries = topic.room().as_ref().and_then(|room| room.entries().cloned());
    let Some(entries) = entries else { return Ok(()) };
    if let Err(fault) = entries.publish(publishes).await {
        // The build before can serve the topic.
        if let Some((probation, Some(_))) = route.trial() {
            probation.count_fault();
        }
        return Err(fault);
    }
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return Ok(()) };
    // What the members have is of no use for the next patch, also if the topic publishes a state from now on.
    let audience = topic.services().pubsub.audience(topic.name.as_str());
    let has_members = audience.is_some_and(|audience| audience.forget_shown());
    let published = (!publishes.is_empty()).then(|| {
        let mut published = PublishedEntries::new(publishes, &topic.services().entries);
        published.is_awaited = has_members;
        Box::new(published)
    });
    room.set_published_entries(published);
    Ok(())
}

/// Delivers the changes of published entries that a turn has committed. The room is locked until they are delivered, so that
/// none overtakes another.
pub(in crate::channel) fn publish_entries(topic: &Arc<TopicTurns>, changes: Vec<PublishedChange>) {
    if changes.is_empty() {
        return;
    }
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return };
    let Some(published) = room.published_entries() else { return };
    let (change, changes): (_, Arc<[_]>) = (published.state.next_change(), changes.into());
    let update = EntriesUpdate { topic: topic.name.clone(), change, changes: Arc::clone(&changes) };
    let is_missed = topic.services().pubsub.update_entries(update);
    if published.state.record(&changes, is_missed) {
        Limit::PublishedMissedBytes.hit();
    }
    published.count_kept();
    if is_missed {
        start_catch_up(topic, room);
    }
}

/// The published entries for a member that is about to join, as they were last committed. None if the topic publishes none.
/// This has to be called before the join is committed, because it may have to read the store.
///
/// # Errors
/// Fault: store, if they can't be read.
pub(in crate::channel) async fn entries_to_show(
    topic: &TopicTurns,
    followed: Option<&Followed>,
) -> Result<Option<EntriesState>, Fault> {
    let entries = topic.room().as_mut().and_then(|room| {
        room.published_entries()?;
        room.entries().cloned()
    });
    let Some(entries) = entries else { return Ok(None) };
    let state = |text, patch| Some(EntriesState { topic: topic.name.clone(), text, patch });
    if followed.is_none()
        && let Some((text, patch)) = kept_state(topic, &entries).await?
    {
        return Ok(state(text, patch));
    }
    Ok(state(whole_state(topic, &entries, followed).await?, None))
}

/// The kept text, with the patch that leads from it to the entries of now. None if no text is kept, or if the patch is long.
async fn kept_state(
    topic: &TopicTurns,
    entries: &Arc<TopicEntries>,
) -> Result<Option<(ByteString, Option<ByteString>)>, Fault> {
    let keys: Option<Vec<Box<str>>> = topic.room().as_mut().and_then(|room| {
        let (_, missed) = room.published_entries()?.state.kept()?;
        Some(missed.keys().map(Into::into).collect())
    });
    let Some(keys) = keys else { return Ok(None) };
    let values = entries.values(&keys).await?;
    let mut room = topic.room();
    // Only turns of the topic change its entries. So they are the same as above.
    let kept = room.as_mut().and_then(|room| room.published_entries()?.state.kept());
    Ok(kept.and_then(|(text, missed)| {
        let patch = missed.patch(values.iter().map(Option::as_deref)).map(ByteString::from);
        let is_short = patch.as_ref().is_none_or(|patch| patch.len() <= text.len() / PATCH_SHARE);
        is_short.then(|| (text.clone(), patch))
    }))
}

/// Makes the text of the entries of now. That of all entries is kept for the members that join next.
pub(in crate::channel::room) async fn whole_state(
    topic: &TopicTurns,
    entries: &Arc<TopicEntries>,
    followed: Option<&Followed>,
) -> Result<ByteString, Fault> {
    let text = ByteString::from(entries.whole(followed).await?);
    if followed.is_none()
        && let Some(published) = topic.room().as_mut().and_then(|room| room.published_entries())
    {
        published.keep(text.clone());
    }
    Ok(text)
}

/// Sends a new member the entries that it follows, as soon as its outbox has room for them.
pub(in crate::channel) fn show_entries(
    topic: &Arc<TopicTurns>,
    subscription: &Subscription,
    followed: Option<&Followed>,
    state: &EntriesState,
) {
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return };
    let Some(published) = room.published_entries() else { return };
    // The same text, and not an equal one.
    let is_kept = published.state.text().is_some_and(|text| text.as_ptr() == state.text.as_ptr());
    let mut other = None;
    let frames = if followed.is_none() && is_kept { &mut published.frames } else { &mut other };
    let may_lack = subscription.audience().show_entries(subscription, followed, state, frames);
    published.count_kept();
    if may_lack {
        start_catch_up(topic, room);
    }
}

/// A member follows other entries from now on. It gets them at the end of this turn.
pub(in crate::channel) fn follow_entries(topic: &TopicTurns, subscription: &Subscription, followed: Option<&Followed>) {
    let mut room = topic.room();
    let Some(published) = room.as_mut().and_then(|room| room.published_entries()) else { return };
    published.is_awaited |= subscription.audience().follow_entries(subscription, followed);
}
