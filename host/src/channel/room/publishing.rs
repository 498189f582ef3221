//! The delivery of a topic's published state to subscribers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::job::{TopicEvent, post_and_spawn};
use super::room::Room;
use super::topics::TopicTurns;
use crate::contract::PublishedState;
use crate::pubsub::Subscription;

/// How often a task checks for subscribers that missed a change of a published state.
const CATCH_UP_EVERY: Duration = Duration::from_millis(200);

/// Publishes a state of the topic. The room is locked until the state is delivered, so that none overtakes another.
pub(in crate::channel) fn publish(topic: &Arc<TopicTurns>, state: PublishedState) {
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return };
    let update = room.publish(&topic.name, state);
    if update.is_some_and(|update| topic.services().pubsub.update_state(update)) {
        start_catch_up(topic, room);
    }
}

/// Sends a new subscriber the published state, as soon as its outbox has room for it.
pub(in crate::channel) fn show(topic: &Arc<TopicTurns>, subscription: &Subscription) {
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return };
    let Some(whole) = room.whole_state(&topic.name) else { return };
    if subscription.audience().follow(subscription, &whole) {
        start_catch_up(topic, room);
    }
}

/// Starts the task that sends the state to subscribers that missed a change, unless it already runs.
pub(in crate::channel::room) fn start_catch_up(topic: &Arc<TopicTurns>, room: &mut Room) {
    if !room.set_catching_up(true) {
        tokio::spawn(catch_up_all(Arc::downgrade(topic)));
    }
}

/// Sends the whole state to subscribers that missed a change, until none is behind. Otherwise a subscriber could miss the
/// last change for ever.
async fn catch_up_all(topic: Weak<TopicTurns>) {
    loop {
        tokio::time::sleep(CATCH_UP_EVERY).await;
        let Some(topic) = topic.upgrade() else { return };
        // After a panic, the task tries again. Otherwise these subscribers would wait for ever.
        let caught_up = catch_unwind(AssertUnwindSafe(|| catch_up(&topic)));
        if caught_up.is_ok_and(|is_anyone_behind| !is_anyone_behind) {
            return;
        }
    }
}

/// Sends the whole published state to subscribers that missed a change, if their outboxes have room for it now. Returns
/// whether some still have none.
fn catch_up(topic: &Arc<TopicTurns>) -> bool {
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return false };
    let is_catching_up = room.is_catching_up();
    if let Some(published) = room.published_entries() {
        // A turn has to read the entries. Until it has begun, no other one is posted.
        if is_catching_up && !std::mem::replace(&mut published.is_catch_up_posted, true) {
            post_and_spawn(topic, TopicEvent::CatchUp);
        }
        return is_catching_up;
    }
    let whole = room.whole_state(&topic.name);
    let audience = topic.services().pubsub.audience(topic.name.as_str());
    let is_behind = whole.zip(audience).is_some_and(|(whole, audience)| audience.catch_up(&whole));
    room.set_catching_up(is_behind);
    is_behind
}
