//! What durable rooms were before a build on probation took them over, as it is stored beside them: so that the way back is
//! there after a restart of the host too.
//!
//! ```text
//! 1 probation commits 0                    there was no room
//! 1 probation commits 1 version bytes      there was this one
//! ```

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::oneshot;

use super::Node;
use super::persist::{RetryDeadline, encode_room};
use super::turn_queue::Job;
use crate::routes::{Probation, ProbationResult};
use crate::store::{CommitError, Draft, Owner};

/// A room as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Former {
    /// The number of the probation under which it was taken over.
    pub(super) probation: u64,
    /// How often it was committed since.
    pub(super) commits: u64,
    /// Its bytes and their version; none for a room that only came to be under the build on probation.
    pub(super) state: Option<(Bytes, u32)>,
}

/// The only form so far.
const FORM: u8 = 1;

impl Former {
    /// As it is stored.
    pub(super) fn encode(&self) -> Bytes {
        let state = self.state.as_ref().map_or(0, |(bytes, _)| size_of::<u32>() + bytes.len());
        let mut stored = BytesMut::with_capacity(2 + 2 * size_of::<u64>() + state);
        stored.put_u8(FORM);
        stored.put_u64(self.probation);
        stored.put_u64(self.commits);
        stored.put_u8(u8::from(self.state.is_some()));
        if let Some((bytes, version)) = &self.state {
            stored.put_u32(*version);
            stored.put_slice(bytes);
        }
        stored.freeze()
    }

    /// Reads it again; none where it is damaged, or of a later form.
    pub(super) fn decode(mut stored: Bytes) -> Option<Self> {
        let form = stored.try_get_u8().ok()?;
        let (probation, commits) = (stored.try_get_u64().ok()?, stored.try_get_u64().ok()?);
        let state = match stored.try_get_u8().ok()? {
            0 => stored.is_empty().then_some(None)?,
            1 => {
                let version = stored.try_get_u32().ok()?;
                Some((stored, version))
            }
            _ => return None,
        };
        (form == FORM).then_some(Self { probation, commits, state })
    }
}

/// Says that the way back of a room is lost, which keeps nobody from using the room.
pub(super) fn damaged(topic: &str) {
    tracing::error!(topic, "what the room was before the build on probation can't be read: it stays as it is");
}

impl Node {
    /// Draws the consequence of probations that have ended for the durable rooms that are stored, whether anybody is in them
    /// or not: they return to what they were, or what they were is let go.
    ///
    /// Rooms do so by themselves when they are next opened. This is for those that nobody opens: else what they were would
    /// take room for ever, and the ended probation had to be remembered as long.
    pub async fn settle_stored_rooms(self: &Arc<Self>) {
        let routes = Arc::clone(&self.routes.current());
        for (plugin, past) in routes.past_probations() {
            let ended: Vec<_> = past.iter().filter(|probation| !probation.is_swept()).collect();
            if ended.is_empty() {
                continue;
            }
            self.settle_open_rooms(plugin).await;
            match self.settle_closed_rooms(plugin, &ended).await {
                Ok(()) => ended.iter().for_each(|probation| probation.mark_swept()),
                // It is tried again after the next verdict, and at the next start.
                Err(error) => tracing::error!(plugin = &**plugin, "stored rooms wait for a verdict: {error:#}"),
            }
        }
    }

    /// Has each open room of a plugin draw its consequence, in a turn of its topic: whatever began before the verdict is over
    /// then, and stores nothing of that time any more.
    async fn settle_open_rooms(self: &Arc<Self>, plugin: &str) {
        let mut under_way = Vec::new();
        for (topic, queue) in self.queues.all() {
            let is_its = self.routes.find(topic.as_str()).is_some_and(|route| *route.plugin == *plugin);
            if is_its || queue.is_room_open() {
                let (settled, settling) = oneshot::channel();
                queue.post_and_spawn(Job::Settle(Arc::clone(self), topic, settled));
                under_way.push(settling);
            }
        }
        for settling in under_way {
            // A turn that panicked is logged there.
            let _ = settling.await;
        }
    }

    async fn settle_closed_rooms(&self, plugin: &str, ended: &[&Arc<Probation>]) -> Result<()> {
        // A room that returns isn't kept from it by a quota that the plugin has reached.
        let owner = Owner::new(plugin, u64::MAX)?;
        let patience = RetryDeadline::new();
        let mut last = None;
        loop {
            let mut draft = self.store.begin(&owner);
            let formers = draft.formers_after(last.as_ref()).await?;
            let Some((behind, _)) = formers.last().cloned() else { return Ok(()) };
            let mut returned = Vec::new();
            for (topic, stored) in formers {
                returned.extend(settle_closed_room(&mut draft, &topic, stored, ended)?);
            }
            match self.store.commit(draft).await {
                Ok(_) => {
                    returned.into_iter().for_each(|(probation, commits)| probation.count_discarded_commits(commits));
                    last = Some(behind);
                }
                // One of them was opened and settled meanwhile. The rest is looked at again.
                Err(CommitError::Conflict) => patience.check().map_err(|fault| anyhow::anyhow!(fault.detail))?,
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }
}

/// Settles one room in a draft. Gives the commits that are given up with it, where there are some.
fn settle_closed_room<'a>(
    draft: &mut Draft,
    topic: &Bytes,
    stored: Bytes,
    ended: &[&'a Arc<Probation>],
) -> Result<Option<(&'a Arc<Probation>, u64)>> {
    let topic = std::str::from_utf8(topic).context("a topic is no text")?;
    let Some(former) = Former::decode(stored) else {
        damaged(topic);
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
    tracing::warn!(topic, commits, "state_returned: so many commits were given up with it");
    let room = former.state.as_ref().map(|(bytes, version)| encode_room(bytes, *version));
    draft.set_room(topic, room)?;
    Ok(Some((probation, commits)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_a_room_was_is_read_as_it_was_stored() {
        for state in [None, Some((Bytes::new(), 0)), Some((Bytes::from_static(b"\x00room\xff"), u32::MAX))] {
            let former = Former { probation: 1_764_340_000_000, commits: 7, state };
            assert_eq!(Former::decode(former.encode()), Some(former));
        }
    }

    #[test]
    fn what_is_damaged_is_nothing() {
        let whole = Former { probation: 1, commits: 2, state: Some((Bytes::from_static(b"ab"), 3)) }.encode();
        // A state that was cut off behind its version can't be told from a shorter one, but the store doesn't cut values off.
        for length in 0..whole.len() - 2 {
            assert_eq!(Former::decode(whole.slice(..length)), None, "{length} bytes");
        }
        let mut later = whole.to_vec();
        later[0] = FORM + 1;
        assert_eq!(Former::decode(later.into()), None);
        let mut odd = whole.to_vec();
        odd[17] = 2;
        assert_eq!(Former::decode(odd.into()), None);
    }
}
