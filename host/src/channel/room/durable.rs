//! Durable rooms: their stored form, and when they are read and written.
//!
//! The store is written before any other effect of a call: the writes of the call, and the room, in one transaction.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::topics::TopicTurns;
use crate::channel::turn::{Evaluated, Former, Persisted, Saved, Services, commit_draft};
use crate::contract::{Fault, FaultKind};
use crate::protocol::Topic;
use crate::routes::{Probation, ProbationResult, RoomKind, Route};
use crate::store::{Draft, ReadError};

/// Whether a call has writes to store, or reads to check.
pub(in crate::channel) fn needs_persisting(route: &Route, evaluated: &Evaluated) -> bool {
    evaluated.outcome.draft.is_some() || route.spec.room == RoomKind::Durable
}

/// Stores the writes of a call, and the room of its topic. The future is ready at once if there is nothing to store.
/// `topic` is none for a member with a queue of its own, whose route has no room.
pub(in crate::channel) async fn persist(
    services: &Services,
    topic: Option<&TopicTurns>,
    route: &Route,
    evaluated: &mut Evaluated,
) -> Result<Persisted, Fault> {
    let mut draft = evaluated.outcome.draft.take();
    let durable = topic.filter(|_| route.spec.room == RoomKind::Durable);
    evaluated.is_room_stored = durable.is_none_or(|topic| topic.room().as_ref().is_some_and(|room| room.is_due()));
    let mut has_former = None;
    if let (Some(topic), Some(room)) = (durable, evaluated.room.as_ref().filter(|_| evaluated.is_room_stored)) {
        let draft = draft.get_or_insert_with(|| Box::new(services.store.begin(&route.owner)));
        has_former = Some((topic, set_room(draft, topic, Some(room))?));
    }
    let Some(draft) = draft else { return Ok(Persisted::Done) };
    if !draft.has_writes() {
        let is_current = !draft.has_reads() || services.store.is_current(&draft);
        return Ok(if is_current { Persisted::Done } else { Persisted::Conflict });
    }
    let persisted = commit_draft(&services.store, draft).await?;
    evaluated.is_stored = persisted == Persisted::Done;
    if let Some((topic, has_former)) = has_former.filter(|_| evaluated.is_stored)
        && let Some(room) = topic.room().as_mut()
    {
        room.former_persisted(has_former);
    }
    Ok(persisted)
}

/// Stores a durable room whose last commits aren't stored, even if its plugin doesn't serve the topic any more.
pub(in crate::channel) async fn persist_room(topic: &TopicTurns) {
    let Some((owner, saved)) = topic.room().as_ref().and_then(|room| room.unstored()) else { return };
    let store = &topic.services().store;
    let mut draft = store.begin(&owner);
    let persisted = match set_room(&mut draft, topic, saved.as_ref()) {
        Ok(has_former) => commit_draft(store, Box::new(draft)).await.map(|_| has_former),
        Err(fault) => Err(fault),
    };
    if let Err(fault) = &persisted {
        tracing::error!(topic = topic.name.as_str(), "the last commits of a room could not be stored: {fault}");
    }
    if let Some(room) = topic.room().as_mut() {
        if let Ok(has_former) = persisted {
            room.former_persisted(has_former);
        }
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

/// The probation under which a stored room was upgraded: the current one of its plugin, or one that has ended. An
/// unknown probation comes from the imported store of another host. Then the room is rolled back only if the serving build
/// writes the version from before, and not the room's version.
fn probation_of(services: &Services, route: &Route, former: &Former, version: u32) -> Arc<Probation> {
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

/// Writes a room to a draft, and next to it its state from before an upgrade. Returns whether there is such a state.
fn set_room(draft: &mut Draft, topic: &TopicTurns, room: Option<&Saved>) -> Result<bool, Fault> {
    let had_former = topic.room().as_ref().is_some_and(|room| room.has_stored_former());
    let stored = room.filter(|room| !room.bytes.is_empty()).map(|room| encode(&room.bytes, room.version));
    let former = room.and_then(Saved::former);
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
