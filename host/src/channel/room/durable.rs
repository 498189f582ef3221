//! Durable rooms: their stored form, and when they are read and written.
//!
//! The store is written before any other effect of a call: the writes of the call, the room and its entries, in one
//! transaction.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::room::Room;
use super::topics::TopicTurns;
use crate::channel::turn::{Evaluated, Former, Persisted, Saved, Services, commit_draft, is_current, refused};
use crate::contract::{Fault, FaultKind};
use crate::entries::{PendingEntries, RollbackGivenUp, TopicEntries};
use crate::protocol::Topic;
use crate::routes::{Probation, ProbationResult, RoomKind, Route};
use crate::store::{Draft, ReadError, Store};

/// Whether a call has writes to store, or reads to check.
pub(in crate::channel) fn needs_persisting(route: &Route, evaluated: &Evaluated) -> bool {
    evaluated.draft.is_some() || route.spec.room == RoomKind::Durable
}

/// The part of a durable room that a draft contains.
struct RoomDraft<'a> {
    topic: &'a TopicTurns,
    entries: Option<Arc<TopicEntries>>,
    /// Whether the draft has a state from before an upgrade.
    has_former: bool,
    /// Set if it gives the rollback point up.
    given_up: Option<RollbackGivenUp>,
}

/// Stores the writes of a call, and the room of its topic, if the room is due or `is_room_stored` demands it. The future is
/// ready at once if there is nothing to store.
/// `topic` is none for a member with a queue of its own, whose route has no room.
pub(in crate::channel) async fn persist(
    services: &Services,
    topic: Option<&TopicTurns>,
    route: &Route,
    evaluated: &mut Evaluated,
) -> Result<Persisted, Fault> {
    let (draft, is_forced) = (evaluated.draft.take(), evaluated.is_room_stored);
    let durable = topic.filter(|_| route.spec.room == RoomKind::Durable);
    let point = evaluated.room.as_ref().and_then(Saved::rollback_point);
    // The begin of a rollback point is stored at once, so that no earlier commit is stored after it.
    let is_due = |room: &Room| is_forced || room.is_due() || point.is_some() && room.rollback_point() != point;
    evaluated.is_room_stored = durable.is_none_or(|topic| topic.room().as_deref().is_some_and(is_due));
    let has_changes = evaluated.room.is_some() || evaluated.entries.is_some();
    if let Some(topic) = durable.filter(|_| evaluated.is_room_stored && has_changes) {
        let draft = draft.unwrap_or_else(|| Box::new(services.store.begin(&route.owner)));
        return Box::pin(persist_with_room(services, topic, draft, evaluated)).await;
    }
    let Some(draft) = draft else { return Ok(Persisted::Done) };
    if !draft.has_writes() {
        let is_current = !draft.has_reads()
            || match services.store.is_current_alone(&draft) {
                Some(is_current) => is_current,
                // Boxed because most hosts don't share their store. Otherwise each turn would need the memory for it.
                None => Box::pin(is_current(&services.store, &draft)).await?,
            };
        return Ok(if is_current { Persisted::Done } else { Persisted::Conflict });
    }
    let persisted = commit_draft(&services.store, draft).await?;
    evaluated.is_stored = persisted == Persisted::Done;
    Ok(persisted)
}

/// Stores the writes of a call together with the room and its entries. If earlier commits of the room aren't stored yet,
/// they are stored too: the store never has a later commit of a room without an earlier one.
async fn persist_with_room(
    services: &Services,
    topic: &TopicTurns,
    mut draft: Box<Draft>,
    evaluated: &mut Evaluated,
) -> Result<Persisted, Fault> {
    let must_store_first = |topic: &TopicTurns| {
        let room = topic.room();
        room.as_ref().and_then(|room| room.entries()).is_some_and(|entries| entries.must_store_first())
    };
    if must_store_first(topic) {
        persist_room(topic).await;
        if must_store_first(topic) {
            return Err(Fault::new(FaultKind::Store, "earlier changes of the topic's entries can't be stored"));
        }
    }
    let (entries, unstored) = match topic.room().as_ref() {
        Some(room) => (room.entries().cloned(), room.unstored().map(|(_, saved)| saved)),
        None => (None, None),
    };
    let given_up = prepare_rollback(topic, entries.as_deref(), evaluated);
    let state = match &evaluated.room {
        Some(room) => Some(Some(room)),
        None => unstored.as_ref().map(Option::as_ref),
    };
    let pending = &mut evaluated.entries;
    let committed = async {
        let room = RoomDraft { topic, entries, has_former: set_room(&mut draft, topic, state)?, given_up };
        room.commit(&services.store, draft, pending).await
    };
    let persisted = committed.await?;
    evaluated.is_stored = persisted == Persisted::Done;
    Ok(persisted)
}

/// Checks whether the entries before the changes of a call can be kept. If not, the rollback point is given up with this
/// commit.
fn prepare_rollback(
    topic: &TopicTurns,
    entries: Option<&TopicEntries>,
    evaluated: &mut Evaluated,
) -> Option<RollbackGivenUp> {
    let (entries, pending) = entries.zip(evaluated.entries.as_deref())?;
    let point = match &evaluated.room {
        Some(room) => room.rollback_point(),
        None => topic.room().as_ref().and_then(|room| room.rollback_point()),
    };
    let given_up = entries.prepare_rollback(point, pending).err()?;
    evaluated.room.iter_mut().for_each(Saved::give_up_rollback);
    Some(given_up)
}

impl RoomDraft<'_> {
    /// Adds the entries to a draft, and commits it. `pending` are the changes of a call; they are gone if nobody knows
    /// whether the store has them.
    async fn commit(
        self,
        store: &Store,
        mut draft: Box<Draft>,
        pending: &mut Option<Box<PendingEntries>>,
    ) -> Result<Persisted, Fault> {
        let Self { topic, entries, has_former, given_up } = self;
        let on_probation = given_up.map(|given_up| given_up.probation);
        let commit = match &entries {
            Some(entries) => Some(entries.begin_commit(pending.as_deref(), on_probation).await?),
            None => None,
        };
        if let Some(commit) = &commit {
            commit.write(&mut draft, pending.as_deref()).map_err(|error| Fault::oversize(error.to_string()))?;
        }
        let revision = match store.commit(*draft).await {
            Ok(revision) => revision,
            Err(error) => {
                if error.is_uncertain()
                    && let Some(commit) = commit
                {
                    commit.is_uncertain(pending.take());
                    if let Some(room) = topic.room().as_mut() {
                        room.mark_unstored();
                    }
                }
                return refused(&error);
            }
        };
        if let Some(commit) = commit {
            commit.is_stored(revision, pending.as_deref());
        }
        if let Some(room) = topic.room().as_mut() {
            room.former_persisted(has_former);
            given_up.into_iter().for_each(|given_up| room.give_up_rollback(&topic.name, given_up));
        }
        Ok(Persisted::Done)
    }
}

/// Stores a durable room whose last commits aren't stored, even if its plugin doesn't serve the topic any more.
pub(in crate::channel) async fn persist_room(topic: &TopicTurns) {
    let (owner, saved, entries) = match topic.room().as_ref() {
        Some(room) => match room.unstored() {
            Some((owner, saved)) => (owner, saved, room.entries().cloned()),
            None => return,
        },
        None => return,
    };
    let store = &topic.services().store;
    let mut draft = Box::new(store.begin(&owner));
    let persisted = async {
        let has_former = set_room(&mut draft, topic, Some(saved.as_ref()))?;
        RoomDraft { topic, entries, has_former, given_up: None }.commit(store, draft, &mut None).await
    };
    let persisted = persisted.await;
    if let Err(fault) = &persisted {
        tracing::error!(topic = topic.name.as_str(), "the last commits of a room could not be stored: {fault}");
    }
    if let Some(room) = topic.room().as_mut() {
        room.persisted(persisted.is_ok());
    }
}

/// A durable room as last stored, and whether its state from before an upgrade is stored next to it.
pub(in crate::channel::room) async fn stored_room(
    services: &Services,
    topic: &Topic,
    route: &Route,
) -> Result<(Option<Saved>, bool), Fault> {
    let failed = |error: ReadError| Fault::new(FaultKind::Store, error.to_string());
    let damaged = || Fault::new(FaultKind::Store, "the stored room is damaged");
    let mut draft = services.store.begin(&route.owner);
    let room = draft.room(topic.as_str()).await.map_err(failed)?;
    let room = room.map(|stored| decode(stored).ok_or_else(damaged)).transpose()?;
    let Some(stored) = draft.former(topic.as_str()).await.map_err(failed)? else { return Ok((room, false)) };
    let Some(former) = Former::decode(stored) else {
        log_damaged_former(topic.as_str());
        return Ok((room, true));
    };
    // Without a room: the build on probation has removed it, and a rollback has to restore it.
    let room = room.unwrap_or_else(|| Saved::new(Bytes::new(), route.spec.room_version));
    let probation = probation_of(services, route, &former, room.version);
    Ok((Some(room.with_former(former, probation)), true))
}

/// Reads the rollback point of a durable room's entries from the store, if the room has a state from before an upgrade. If
/// not, reads whether the rollback point was given up on the current probation.
///
/// # Errors
/// If the store can't be read. Then the next turn tries again.
pub(in crate::channel::room) async fn read_rollback_point(topic: &TopicTurns, route: &Route) -> Result<(), Fault> {
    let (entries, point) = match topic.room().as_ref() {
        Some(room) if room.is_rollback_unread() => (room.entries().cloned(), room.rollback_point()),
        _ => return Ok(()),
    };
    let trial = route.trial().and_then(|(probation, _)| probation.id());
    match (entries, point, trial) {
        (Some(entries), Some(probation), _) => {
            let sums = stored_former(topic, route).await?.map(|former| former.sums).unwrap_or_default();
            entries.load_rollback_point(probation, sums).await?;
        }
        (Some(entries), None, Some(probation)) => entries.load_given_up(probation).await?,
        _ => {}
    }
    topic.room().iter_mut().for_each(|room| room.rollback_read());
    Ok(())
}

async fn stored_former(topic: &TopicTurns, route: &Route) -> Result<Option<Former>, Fault> {
    let mut draft = topic.services().store.begin(&route.owner);
    let stored = draft.former(topic.name.as_str()).await;
    Ok(stored.map_err(|error| Fault::new(FaultKind::Store, error.to_string()))?.and_then(Former::decode))
}

/// The probation under which a stored room was upgraded: the current one of its plugin, or one that has ended. An
/// unknown probation comes from the imported store of another host. Then the room is rolled back only if the serving build
/// writes the version from before, and not the room's version.
pub(in crate::channel::room) fn probation_of(
    services: &Services,
    route: &Route,
    former: &Former,
    version: u32,
) -> Arc<Probation> {
    let is_it = |probation: &&Arc<Probation>| probation.id() == Some(former.probation);
    if let Some(current) = route.probation.as_ref().map(|(probation, _)| probation).filter(is_it) {
        return Arc::clone(current);
    }
    if let Some(past) = services.routes.current().past_probation(&route.plugin, former.probation) {
        return Arc::clone(past);
    }
    let own = route.spec.room_version;
    let rolls_back = version != own && former.state.as_ref().is_some_and(|(_, former)| *former == own);
    let result = if rolls_back { ProbationResult::RolledBack } else { ProbationResult::Passed };
    Probation::ended(former.probation, result, Arc::default())
}

/// Writes a room to a draft, and next to it its state from before an upgrade. `room` is none if the store has the present
/// state. Returns whether there is a state from before.
fn set_room(draft: &mut Draft, topic: &TopicTurns, room: Option<Option<&Saved>>) -> Result<bool, Fault> {
    let had_former = topic.room().as_ref().is_some_and(|room| room.has_stored_former());
    let Some(room) = room else { return Ok(had_former) };
    let stored = room.filter(|room| !room.bytes.is_empty()).map(|room| encode(&room.bytes, room.version));
    let sums = || topic.room().as_ref().and_then(|room| room.entries()?.rollback_sums());
    let former = room.and_then(|room| room.former(sums()));
    let has_former = former.is_some();
    let set = draft.set_room(topic.name.as_str(), stored).and_then(|()| {
        // Most rooms have none, and then nothing is written for it.
        if !has_former && !had_former {
            return Ok(());
        }
        draft.set_former(topic.name.as_str(), former.map(|former| former.encode()))
    });
    set.map_err(|oversize| Fault::oversize(oversize.to_string()))?;
    Ok(has_former)
}

/// A room's stored form: its version, and its bytes.
pub(in crate::channel::room) fn encode(bytes: &[u8], version: u32) -> Bytes {
    let mut stored = BytesMut::with_capacity(size_of::<u32>() + bytes.len());
    stored.put_u32(version);
    stored.put_slice(bytes);
    stored.freeze()
}

fn decode(mut stored: Bytes) -> Option<Saved> {
    let version = stored.try_get_u32().ok()?;
    Some(Saved::new(stored, version))
}

/// Logs that a room can't be rolled back. The room itself stays usable.
pub(in crate::channel::room) fn log_damaged_former(topic: &str) {
    tracing::error!(
        topic,
        "the room's state from before the build on probation can't be read, so the room isn't rolled back"
    );
}
