//! What of a call is stored, before anything else of it happens: its writes, and its topic's durable room.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::time::Instant;

use super::Node;
use super::former::{self, Former};
use super::invoke::Evaluated;
use super::saved::Saved;
use super::turn_queue::TurnQueue;
use crate::contract::{Fault, FaultKind};
use crate::protocol::Topic;
use crate::routes::{Probation, ProbationResult, RoomKind, Route};
use crate::store::{CommitError, Draft, ReadError};

/// For so long a call that was overtaken is run again. Others have got on with theirs each time.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What has come of storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persisted {
    /// It is there, or there was nothing to store.
    Done,
    /// Something that the call has read is no more: nothing was stored, and it is to run again.
    Conflict,
}

/// How often a call may be overtaken.
pub(super) struct RetryDeadline(Instant);

impl RetryDeadline {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// Where it has lasted too long.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.0.elapsed() < RETRY_MAX {
            return Ok(());
        }
        let limit = RETRY_MAX.as_secs();
        Err(Fault::new(FaultKind::Store, format!("others changed what it had read, again and again, for {limit} s")))
    }
}

impl Node {
    /// Whether anything of it has to be stored, or what it has read to be looked at again.
    pub(super) fn needs_persisting(&self, route: &Route, evaluated: &Evaluated) -> bool {
        evaluated.outcome.draft.is_some() || route.spec.room == RoomKind::Durable
    }

    /// Stores what has to be. Ready at once where nothing has.
    pub(super) async fn persist(
        &self,
        (queue, topic): (&TurnQueue, &Topic),
        route: &Route,
        evaluated: &mut Evaluated,
    ) -> Result<Persisted, Fault> {
        let mut draft = evaluated.outcome.draft.take();
        let is_durable = route.spec.room == RoomKind::Durable;
        evaluated.is_room_stored = !is_durable || queue.is_room_due();
        let mut former = None;
        if let Some(room) = evaluated.room.as_ref().filter(|_| is_durable && evaluated.is_room_stored) {
            let draft = draft.get_or_insert_with(|| Box::new(self.store.begin(&route.owner)));
            former = Some(set_room(draft, topic, Some(room), queue.has_stored_former())?);
        }
        let Some(draft) = draft else { return Ok(Persisted::Done) };
        if !draft.has_writes() {
            let is_current = !draft.has_reads() || self.store.is_current(&draft);
            return Ok(if is_current { Persisted::Done } else { Persisted::Conflict });
        }
        let persisted = self.commit_draft(draft).await?;
        evaluated.is_stored = persisted == Persisted::Done;
        if let Some(has_former) = former.filter(|_| evaluated.is_stored) {
            queue.former_persisted(has_former);
        }
        Ok(persisted)
    }

    /// Stores a durable room whose last commits haven't been, whether its plugin still serves the topic or not.
    pub(super) async fn persist_room(&self, queue: &TurnQueue, topic: &Topic) {
        let Some((owner, room)) = queue.unstored_room() else { return };
        let mut draft = self.store.begin(&owner);
        let persisted = match set_room(&mut draft, topic, room.as_ref(), queue.has_stored_former()) {
            Ok(has_former) => self.commit_draft(Box::new(draft)).await.map(|_| has_former),
            Err(fault) => Err(fault),
        };
        match persisted {
            Ok(has_former) => {
                queue.former_persisted(has_former);
                queue.room_persisted(true);
            }
            Err(fault) => {
                tracing::error!(topic = topic.as_str(), "a room's last commits weren't stored: {fault}");
                queue.room_persisted(false);
            }
        }
    }

    /// A durable room as it was stored last, and whether what it was before is stored beside it.
    pub(super) async fn stored_room(&self, topic: &Topic, route: &Route) -> Result<(Option<Saved>, bool), Fault> {
        let failed = |error: ReadError| Fault::new(FaultKind::Store, error.to_string());
        let mut draft = self.store.begin(&route.owner);
        let room = draft.room(topic.as_str()).await.map_err(failed)?;
        let room = room.map(|stored| decode(stored).ok_or_else(damaged)).transpose()?;
        let Some(stored) = draft.former(topic.as_str()).await.map_err(failed)? else { return Ok((room, false)) };
        let Some(former) = Former::decode(stored) else {
            former::damaged(topic.as_str());
            return Ok((room, true));
        };
        // The build on probation has taken the room away, which it may have to give back.
        let room = room.unwrap_or_else(|| Saved::new(Bytes::new(), route.spec.room_version));
        let probation = self.probation_of(route, &former, room.version);
        Ok((Some(room.with_former(former, probation)), true))
    }

    /// The probation under which a stored room was taken over: the one that its plugin is on, or one that has ended. One that
    /// nobody knows is of another host, whose store was imported. Then the room returns to what it was only if the build that
    /// serves knows that version, and the other isn't its own.
    fn probation_of(&self, route: &Route, former: &Former, version: u32) -> Arc<Probation> {
        let is_it = |probation: &&Arc<Probation>| probation.id() == Some(former.probation);
        if let Some(current) = route.probation.as_ref().map(|(probation, _)| probation).filter(is_it) {
            return Arc::clone(current);
        }
        if let Some(past) = self.routes.current().past_probation(&route.plugin, former.probation) {
            return Arc::clone(past);
        }
        let own = route.spec.room_version;
        let returns = version != own && former.state.as_ref().is_some_and(|(_, former)| *former == own);
        let result = if returns { ProbationResult::RolledBack } else { ProbationResult::Passed };
        Probation::ended(former.probation, result, Arc::default())
    }

    async fn commit_draft(&self, draft: Box<Draft>) -> Result<Persisted, Fault> {
        // Most turns store nothing, and aren't to carry the room for it.
        match Box::pin(self.store.commit(*draft)).await {
            Ok(_) => Ok(Persisted::Done),
            Err(CommitError::Conflict) => Ok(Persisted::Conflict),
            Err(error) => Err(Fault::new(FaultKind::Store, error.to_string())),
        }
    }
}

/// Writes a room as it is stored, and what it was before beside it. Whether there is such.
fn set_room(draft: &mut Draft, topic: &Topic, room: Option<&Saved>, had_former: bool) -> Result<bool, Fault> {
    let stored = room.filter(|room| !room.bytes.is_empty()).map(|room| encode_room(&room.bytes, room.version));
    let former = room.and_then(Saved::former);
    let has_former = former.is_some();
    let set = draft.set_room(topic.as_str(), stored).and_then(|()| {
        // Most rooms have none, and nothing is written for it.
        if !has_former && !had_former {
            return Ok(());
        }
        draft.set_former(topic.as_str(), former.map(|former| former.encode()))
    });
    set.map_err(|oversize| Fault::oversize(oversize.to_string()))?;
    Ok(has_former)
}

/// A room as it is stored: its version, and its bytes.
pub(super) fn encode_room(bytes: &[u8], version: u32) -> Bytes {
    let mut stored = BytesMut::with_capacity(size_of::<u32>() + bytes.len());
    stored.put_u32(version);
    stored.put_slice(bytes);
    stored.freeze()
}

fn decode(mut stored: Bytes) -> Option<Saved> {
    let version = stored.try_get_u32().ok()?;
    Some(Saved::new(stored, version))
}

fn damaged() -> Fault {
    Fault::new(FaultKind::Store, "the stored room is damaged")
}
