//! The end of a probation, applied to all durable rooms of a plugin.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::durable::{encode, log_damaged_former};
use super::job::{TopicEvent, post_and_spawn};
use super::topics::Topics;
use crate::channel::turn::{Former, RetryDeadline};
use crate::routes::{Probation, ProbationResult};
use crate::store::{CommitError, Draft, Owner, Store};

/// Applies the probations that have ended to the durable rooms in the store, with or without members: the rooms are
/// rolled back, or their states from before are removed.
///
/// A room that is opened applies them by itself. This function is for the rooms that nobody opens. Otherwise their states
/// from before would take space for ever, and the ended probation would have to be kept as long.
///
/// Returns whether all of them were applied. Otherwise the store has failed, and the caller tries again later.
pub(in crate::channel) async fn settle_stored_rooms(topics: &Arc<Topics>) -> bool {
    let routes = Arc::clone(&topics.services.routes.current());
    let mut is_complete = true;
    for (plugin, past) in routes.past_probations() {
        let ended: Vec<_> = past.iter().filter(|probation| !probation.is_swept()).collect();
        if ended.is_empty() {
            continue;
        }
        settle_open_rooms(topics, plugin).await;
        match settle_closed_rooms(&topics.services.store, plugin, &ended).await {
            Ok(()) => ended.iter().for_each(|probation| probation.mark_swept()),
            Err(error) => {
                is_complete = false;
                tracing::error!(plugin = &**plugin, "a probation's end wasn't applied to stored rooms: {error:#}");
            }
        }
    }
    is_complete
}

/// Settles each open room of a plugin in a turn of its topic. After that turn, all turns that began before the end of the
/// probation are over, and store nothing more.
async fn settle_open_rooms(topics: &Topics, plugin: &str) {
    let mut under_way = Vec::new();
    for topic in topics.all() {
        let is_its = topics.services.routes.find(topic.name.as_str()).is_some_and(|route| *route.plugin == *plugin);
        if is_its || topic.is_room_open() {
            let (settled, settling) = oneshot::channel();
            post_and_spawn(&topic, TopicEvent::Settle(settled));
            under_way.push(settling);
        }
    }
    for settling in under_way {
        // An error means that the turn panicked. The turn logs the panic.
        let _ = settling.await;
    }
}

async fn settle_closed_rooms(store: &Store, plugin: &str, ended: &[&Arc<Probation>]) -> Result<()> {
    // A quota that the plugin has reached doesn't prevent a rollback.
    let owner = Owner::new(plugin, u64::MAX)?;
    let deadline = RetryDeadline::new();
    let mut last = None;
    loop {
        let mut draft = store.begin(&owner);
        let formers = draft.formers_after(last.as_ref()).await?;
        let (mut rolled_back, mut behind) = (Vec::new(), None);
        for (topic, stored) in formers {
            let ended = settle_closed_room(&mut draft, &topic, stored, ended).await?;
            behind = Some(topic);
            let has_entries = ended.as_ref().is_some_and(|ended| ended.has_entries);
            rolled_back.extend(ended);
            // Entries may be many, so those of another topic are rolled back in another transaction.
            if has_entries {
                break;
            }
        }
        if behind.is_none() {
            break;
        }
        match store.commit(draft).await {
            Ok(_) => {
                rolled_back.iter().for_each(|RolledBack { probation, commits, .. }| {
                    probation.count_discarded_commits(*commits);
                });
                last = behind;
            }
            // One of the rooms was opened and settled meanwhile. The others are checked again.
            Err(CommitError::Conflict) => deadline.check().map_err(|fault| anyhow::anyhow!(fault.detail))?,
            Err(refusal) => return Err(refusal.into()),
        }
    }
    remove_entry_formers(store, &owner, &deadline).await
}

/// Removes the entries from before rollback points that no room refers to any more.
async fn remove_entry_formers(store: &Store, owner: &Owner, deadline: &RetryDeadline) -> Result<()> {
    let mut from = None;
    loop {
        let mut draft = store.begin(owner);
        let next = draft.sweep_entry_formers(from.clone()).await?;
        if draft.has_writes() {
            match store.commit(draft).await {
                Ok(_) => {}
                // A rollback point of one of the rooms has begun or ended meanwhile.
                Err(CommitError::Conflict) => {
                    deadline.check().map_err(|fault| anyhow::anyhow!(fault.detail))?;
                    continue;
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
        match next {
            Some(next) => from = Some(next),
            None => return Ok(()),
        }
    }
}

/// A room that is rolled back.
struct RolledBack<'a> {
    probation: &'a Arc<Probation>,
    /// The number of commits that are discarded.
    commits: u64,
    has_entries: bool,
}

/// Settles one room in a draft. Returns whether it is rolled back.
async fn settle_closed_room<'a>(
    draft: &mut Draft,
    topic: &Bytes,
    stored: Bytes,
    ended: &[&'a Arc<Probation>],
) -> Result<Option<RolledBack<'a>>> {
    let topic = std::str::from_utf8(topic).context("the topic of a stored room isn't UTF-8")?;
    let Some(former) = Former::decode(stored) else {
        log_damaged_former(topic);
        return Ok(None);
    };
    let Some(probation) = ended.iter().find(|probation| probation.id() == Some(former.probation)) else {
        return Ok(None);
    };
    draft.set_former(topic, None)?;
    if probation.result() != ProbationResult::RolledBack {
        return Ok(None);
    }
    let commits = former.commits;
    tracing::warn!(topic, commits, "state_returned: the room was rolled back, and these commits were discarded");
    // A room without bytes is one that nobody had written.
    let state = former.state.as_ref().filter(|(bytes, _)| !bytes.is_empty());
    draft.set_room(topic, state.map(|(bytes, version)| encode(bytes, *version)))?;
    let has_entries = draft.roll_back_entries(topic, former.probation, former.sums).await?;
    Ok(Some(RolledBack { probation, commits, has_entries }))
}
