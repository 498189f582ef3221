//! The turn in which members get the published entries that they lack: the whole state, or the changes that they have missed.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytestring::ByteString;

use super::publishing::start_catch_up;
use super::publishing_entries::whole_state;
use super::topics::TopicTurns;
use crate::contract::Fault;
use crate::entries::TopicEntries;
use crate::pubsub::{CaughtUp, Wanted};

/// A whole state that is no longer than this is sent in place of a patch, so that its members have the numbers of their view.
const SMALL: u64 = 4 << 10;

/// Sends each member what it lacks, if its outbox has room now. If a member still lacks something then, a later turn tries
/// again.
pub(in crate::channel) async fn catch_up_entries(topic: &Arc<TopicTurns>) {
    let entries = {
        let mut room = topic.room();
        let Some(room) = room.as_mut() else { return };
        let Some(published) = room.published_entries() else { return };
        (published.is_awaited, published.is_catch_up_posted) = (false, false);
        room.entries().cloned()
    };
    let audience = topic.services().pubsub.audience(topic.name.as_str());
    if let Some((entries, audience)) = entries.zip(audience) {
        // A member for which the patch isn't possible gets the whole state in the second round.
        for _ in 0..2 {
            for wanted in audience.wanted_entries() {
                match caught_up(topic, &entries, &wanted).await {
                    Ok(caught_up) => audience.catch_up_entries(&topic.name, &wanted, &caught_up),
                    Err(fault) => {
                        tracing::warn!(topic = topic.name.as_str(), "published entries could not be read: {fault}");
                        return retry_later(topic, None);
                    }
                }
            }
        }
        if audience.is_draining() {
            return retry_later(topic, None);
        }
        if let Some(since) = audience.behind_entries() {
            return retry_later(topic, Some(since));
        }
    }
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return };
    room.set_catching_up(false);
    if let Some(published) = room.published_entries() {
        published.state.retain(BTreeSet::new());
        published.count_kept();
    }
}

/// Some members still lack entries. Missed changes that none of them needs are dropped, if it is known which these are.
fn retry_later(topic: &Arc<TopicTurns>, behind: Option<BTreeSet<u64>>) {
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return };
    if let (Some(published), Some(behind)) = (room.published_entries(), behind) {
        published.state.retain(behind);
        published.count_kept();
    }
    start_catch_up(topic, room);
}

/// The messages for the members that lack this part.
async fn caught_up(topic: &TopicTurns, entries: &Arc<TopicEntries>, wanted: &Wanted) -> Result<CaughtUp, Fault> {
    if let Some(since) = wanted.since
        && let Some(patch) = missed(topic, entries, wanted, since).await?
    {
        return Ok(CaughtUp::Patch(patch));
    }
    let kept = topic.room().as_mut().filter(|_| wanted.followed.is_none()).and_then(|room| {
        let (text, missed) = room.published_entries()?.state.kept()?;
        (missed.keys().len() == 0).then(|| text.clone())
    });
    let text = match kept {
        Some(text) => text,
        None => whole_state(topic, entries, wanted.followed.as_ref()).await?,
    };
    Ok(CaughtUp::Whole(text))
}

/// The patch for the changes since one of them, if they made a difference. The outer value is none if these members must get
/// the whole state, or if it is short.
async fn missed(
    topic: &TopicTurns,
    entries: &Arc<TopicEntries>,
    wanted: &Wanted,
    since: u64,
) -> Result<Option<Option<ByteString>>, Fault> {
    let bytes = entries.published_bytes();
    if bytes <= SMALL {
        return Ok(None);
    }
    let followed = wanted.followed.as_ref();
    let keys: Option<Vec<Box<str>>> = topic.room().as_mut().and_then(|room| {
        let missed = room.published_entries()?.state.since(since, followed)?;
        Some(missed.keys().map(Into::into).collect())
    });
    let Some(keys) = keys else { return Ok(None) };
    let values = entries.values(&keys).await?;
    let mut room = topic.room();
    // Only turns of the topic change its entries. So they are the same as above.
    let Some(missed) = room.as_mut().and_then(|room| room.published_entries()?.state.since(since, followed)) else {
        return Ok(None);
    };
    let patch = missed.patch(values.iter().map(Option::as_deref)).map(ByteString::from);
    // The whole state of a part of the entries is not known here.
    let is_long = |patch: &ByteString| followed.is_none() && bytes <= 2 * patch.len() as u64;
    Ok(if patch.as_ref().is_some_and(is_long) { None } else { Some(patch) })
}
