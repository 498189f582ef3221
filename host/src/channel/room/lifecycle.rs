//! When a topic's room is opened, rolled back, and ended.
//!
//! The first turn of its topic that needs a room opens it. It ends some time after its last member has gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::durable::{persist_room, stored_room};
use super::job::{TopicEvent, post_and_spawn};
use super::published_entries::open_published;
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
        if is_its {
            room.open_entries(route, &topic.services().entries);
        }
        (is_its, room.is_durable() == is_durable, room.publishes_as(route))
    });
    match found {
        Some((true, true, true)) => return Ok(false),
        Some((true, true, false)) => {
            Box::pin(open_published(topic, route)).await?;
            return Ok(false);
        }
        Some((false, ..)) => Box::pin(end(topic)).await,
        Some((true, false, _)) | None => {}
    }
    let (stored, has_former) =
        if is_durable { Box::pin(stored_room(topic.services(), &topic.name, route)).await? } else { (None, false) };
    let is_published = {
        let mut room = topic.room();
        let opened = room.get_or_insert_with(|| Box::new(Room::new(route.owner.clone())));
        opened.open(is_durable, stored, has_former);
        opened.open_entries(route, &topic.services().entries);
        opened.publishes_as(route)
    };
    if !is_published {
        Box::pin(open_published(topic, route)).await?;
    }
    // The probation under which it was upgraded may have ended since it was stored.
    Ok(settle(topic))
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
        let Some(permit) = topic.topics.idle.keep(room.weight()) else { return true };
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
