//! The members of a topic, when its room acts on them.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::channel::Channel;
use super::event::MemberEvent;
use crate::channel::room::{TopicTurns, catch_up_entries, end, is_over, open, open_published, persist_room, settle};
use crate::contract::Fault;
use crate::pubsub::PubSub;
use crate::routes::Route;

/// The channels that are subscribed to a topic.
pub(in crate::channel) fn members_of(pubsub: &PubSub, topic: &str) -> impl Iterator<Item = Arc<Channel>> + use<> {
    let members = pubsub.audience(topic).map(|audience| audience.members());
    members.into_iter().flatten().filter_map(|member| member.downcast::<Channel>().ok())
}

/// Opens the topic's room, if its route has one and it isn't open.
///
/// # Errors
/// If it is durable and can't be read.
pub(in crate::channel) async fn open_room(topic: &TopicTurns, route: &Route) -> Result<(), Fault> {
    if open(topic, route).await? {
        roll_back_members(topic);
    }
    // Most plugins have no entries, and their turns don't take the lock for them.
    if route.has_entries() && !topic.publishes_as(route) {
        Box::pin(open_published(topic, route)).await?;
    }
    Ok(())
}

/// Applies the end of the probation under which the topic's room was upgraded. Returns whether the room was rolled
/// back, and so its members too.
pub(in crate::channel) fn settle_room(topic: &TopicTurns) -> bool {
    let is_rolled_back = settle(topic);
    if is_rolled_back {
        roll_back_members(topic);
    }
    is_rolled_back
}

fn roll_back_members(topic: &TopicTurns) {
    for channel in members_of(&topic.services().pubsub, topic.name.as_str()) {
        channel.post_ending(MemberEvent::RolledBack);
    }
}

/// After each turn in the topic's queue: settles the room, stores it if it is time, and ends a room without members, at
/// once or later. Returns the rest of the work, if there is some.
pub(in crate::channel) fn after_turn(topic: &Arc<TopicTurns>) -> Option<BoxFuture<'static, ()>> {
    if !topic.is_room_open() {
        return None;
    }
    settle_room(topic);
    let (is_overdue, are_awaited) = (topic.is_room_overdue(), topic.are_entries_awaited());
    if !is_overdue && !are_awaited && !is_over(topic) {
        return None;
    }
    let topic = Arc::clone(topic);
    Some(Box::pin(async move {
        if are_awaited {
            catch_up_entries(&topic).await;
        }
        if is_overdue {
            persist_room(&topic).await;
        }
        if (are_awaited || is_overdue) && !is_over(&topic) {
            return;
        }
        end(&topic).await;
    }))
}
