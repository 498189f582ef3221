//! Changes of a topic's seats: members take and leave seats, grace periods end, and `handle_seat` is called.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use tokio::time::Instant;

use super::idle::IdlePermit;
use super::job::{TopicEvent, post_and_spawn};
use super::seats::GraceTimer;
use super::topics::TopicTurns;
use crate::contract::{Departure, SeatChange, SeatView};
use crate::parcel::SeatRecord;

/// A member takes a seat.
pub(in crate::channel) fn take_seat(topic: &Arc<TopicTurns>, name: &ByteString, member: u64, grace: Duration) {
    let change = topic.room().as_mut().and_then(|room| room.seats().take(name, member, grace));
    if change.is_some() {
        tell(topic, name, change);
    }
}

/// A member leaves its seat for good, or drops.
pub(in crate::channel) fn rise(topic: &Arc<TopicTurns>, name: &ByteString, member: u64, departure: Departure) {
    let change = topic.room().as_mut().and_then(|room| {
        let is_held = room.is_held(Instant::now());
        let seats = room.seats();
        let (change, until) = seats.vacate(name, member, departure)?;
        let Some(until) = until else { return Some(change) };
        let idle = &topic.topics.idle;
        let permit = if is_held { Some(idle.keep_anyway(0)) } else { idle.keep(0) };
        let timer = permit.map(|permit| grace_timer(topic, name, until, permit));
        Some(seats.keep(name, timer).unwrap_or(change))
    });
    if change.is_some() {
        tell(topic, name, change);
    }
}

/// Sets a seat of another host. Its members end here in their first turns, and their connections were not closed by them: so
/// `further` is added to its grace period.
pub(in crate::channel::room) fn keep_seat(topic: &Arc<TopicTurns>, seat: SeatRecord, further: Duration) {
    let SeatRecord { name, grace_ms, left_ms, members } = seat;
    let grace = Duration::from_millis(grace_ms).saturating_add(further);
    let left = left_ms.map(|left_ms| Duration::from_millis(left_ms).saturating_add(further));
    // A grace period has at most 24 hours, and so the sum is no time that a clock can't have.
    let until = left.and_then(|left| Instant::now().checked_add(left));
    let mut room = topic.room();
    let Some(room) = room.as_mut() else { return };
    let timer = until.map(|until| grace_timer(topic, &name, until, topic.topics.idle.keep_anyway(0)));
    room.seats().adopt(&name, SeatView { members: &members, grace, until }, timer);
}

fn grace_timer(topic: &Arc<TopicTurns>, name: &ByteString, until: Instant, permit: IdlePermit) -> GraceTimer {
    GraceTimer::new(tokio::spawn(wait(Arc::clone(topic), name.clone(), until)).abort_handle(), permit)
}

/// The end of a seat, if its grace period is over.
pub(in crate::channel) fn change_ended_seat(topic: &TopicTurns, name: &ByteString) -> Option<SeatChange> {
    let mut room = topic.room();
    room.as_mut()?.seats().expire(name, Instant::now()).then_some(SeatChange::Gone)
}

/// Waits for the end of a grace period. Until then, this task keeps the topic, and so the room.
async fn wait(topic: Arc<TopicTurns>, name: ByteString, until: Instant) {
    tokio::time::sleep_until(until).await;
    tell(&topic, &name, None);
}

/// Posts a turn that passes a change to the plugin. Without a change, the turn checks whether the grace period is over. If
/// a turn for this seat already waits, that turn does it.
fn tell(topic: &Arc<TopicTurns>, name: &ByteString, change: Option<SeatChange>) {
    let is_first = topic.seat_changes().note(name, change);
    if is_first {
        post_and_spawn(topic, TopicEvent::Seat(name.clone()));
    }
}
