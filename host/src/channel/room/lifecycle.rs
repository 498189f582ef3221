//! When a topic's room is opened, rolled back, and ended.
//!
//! The first turn of its topic that needs a room opens it. It ends some time after its last member has gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::durable::{persist_room, read_rollback_point, stored_room};
use super::job::{TopicEvent, post_and_spawn};
use super::room::Room;
use super::topics::TopicTurns;
use crate::contract::Fault;
use crate::routes::{RoomKind, Route};

/// Opens the topic's room, if its route has one and it isn't open. A room of another plugin ends. Returns whether the
/// room was rolled back: then its members must end.
///
/// # Errors
/// If it is durable and can't be read, or if its entries can't be published.
pub(in crate::channel) async fn open(topic: &TopicTurns, route: &Route) -> Result<bool, Fault> {
    if !route.spec.has_room() {
        return Ok(false);
    }
    let is_durable = route.spec.room == RoomKind::Durable;
    let found = topic.room().as_mut().map(|room| {
        let is_its = room.is_of(route);
        let is_same = is_its && room.is_durable() == is_durable;
        if is_same {
            room.open_entries(route, &topic.name, topic.services());
        }
        (is_same, is_its, room.is_rollback_unread())
    });
    match found {
        Some((true, _, false)) => return Ok(false),
        // The store has failed when the room was opened.
        Some((true, _, true)) => {}
        Some((false, is_its, _)) => {
            if is_its {
                Box::pin(change_kind(topic, is_durable)).await?;
            } else {
                Box::pin(end(topic)).await;
            }
            Box::pin(open_new(topic, route, is_durable)).await?;
        }
        None => Box::pin(open_new(topic, route, is_durable)).await?,
    }
    if is_durable {
        Box::pin(read_rollback_point(topic, route)).await?;
    }
    // The probation under which it was upgraded may have ended since it was stored.
    Ok(settle(topic))
}

/// Opens a room that isn't open, or that was of another kind until now.
async fn open_new(topic: &TopicTurns, route: &Route, is_durable: bool) -> Result<(), Fault> {
    let (stored, has_former) =
        if is_durable { stored_room(topic.services(), &topic.name, route).await? } else { (None, false) };
    let mut room = topic.room();
    let opened = room.get_or_insert_with(|| Box::new(Room::new(route.owner.clone())));
    opened.open(is_durable, stored, has_former);
    opened.open_entries(route, &topic.name, topic.services());
    Ok(())
}

/// Another build has made the topic's rooms durable, or has made them memory rooms. Entries of a memory room are stored. A
/// durable room with entries ends, because its entries don't have to fit into the memory; the next room begins without
/// entries.
///
/// # Errors
/// If the entries can't be stored.
async fn change_kind(topic: &TopicTurns, is_durable: bool) -> Result<(), Fault> {
    let entries = topic.room().as_ref().and_then(|room| room.entries().cloned());
    let Some(entries) = entries else { return Ok(()) };
    let name = topic.name.as_str();
    if !is_durable {
        tracing::warn!(topic = name, "the rooms of this topic aren't durable any more: its entries stay in the store");
        end(topic).await;
        return Ok(());
    }
    let stored = entries.make_durable(&topic.services().store).await?;
    tracing::info!(topic = name, "the rooms of this topic are durable now: its entries were stored");
    if let Some(room) = topic.room().as_mut() {
        room.set_entries(stored);
    }
    Ok(())
}

/// Ends the room, after its last commits are stored.
pub(in crate::channel) async fn end(topic: &TopicTurns) {
    persist_room(topic).await;
    *topic.room() = None;
}

/// Applies the end of the probation under which the room was upgraded. Returns whether the room was rolled back: then
/// its members must end.
#[must_use = "the members of a room that was rolled back must end"]
pub(in crate::channel) fn settle(topic: &TopicTurns) -> bool {
    topic.room().as_mut().is_some_and(|room| room.settle(&topic.name))
}

/// Whether the room has to end now. If it has to end later, a timer posts a review at that time.
pub(in crate::channel) fn is_over(topic: &Arc<TopicTurns>) -> bool {
    let services = topic.services();
    let has_members = services.pubsub.audience(topic.name.as_str()).is_some_and(|audience| !audience.is_empty());
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return false };
    if has_members || room.seats().are_kept() {
        room.keep();
        return false;
    }
    let route = services.routes.find(topic.name.as_str()).filter(|route| room.is_of(route));
    let now = Instant::now();
    let left = room.time_left(|| route.map_or(Duration::ZERO, |route| route.spec.linger), now);
    if !left.is_zero() && !room.is_lingering(now) {
        let idle = &topic.topics.idle;
        let permit = if room.is_held(now) { Some(idle.keep_anyway(room.weight())) } else { idle.keep(room.weight()) };
        let Some(permit) = permit else { return true };
        let until = now + left;
        let timer = tokio::spawn(review_at(Arc::clone(topic), until)).abort_handle();
        room.start_linger(until, timer, permit);
    }
    left.is_zero()
}

/// Posts a review of the room at this time. Until then, this task keeps the topic, and so the room.
async fn review_at(topic: Arc<TopicTurns>, at: Instant) {
    tokio::time::sleep_until(at).await;
    post_and_spawn(&topic, TopicEvent::Review);
}
