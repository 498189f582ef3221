//! The seats of a topic with a room: who sits where, and for how long a seat is kept for one who dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Node;
use super::fault_log::Failed;
use super::idle::IdlePermit;
use super::turn_queue::TurnQueue;
use crate::contract::{Ending, SeatChange, TopicCallback};
use crate::protocol::Topic;

/// The seats of one topic, by their names.
#[derive(Default)]
pub(super) struct Seats {
    seats: HashMap<ByteString, Seat>,
}

struct Seat {
    /// The numbers of those who sit on it.
    members: Vec<u64>,
    grace: Duration,
    /// While nobody does: until when it is kept.
    until: Option<Instant>,
    timer: Option<GraceTimer>,
}

/// A grace period.
struct GraceTimer {
    timer: AbortHandle,
    _permit: IdlePermit,
}

impl Drop for GraceTimer {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

/// How a member leaves its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// For good.
    Leaves,
    /// It may come back.
    Drops,
}

impl From<&Ending> for Departure {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Left | Ending::Stopped(_) => Self::Leaves,
            Ending::Closed | Ending::Replaced | Ending::Shutdown | Ending::Fault(_) | Ending::TakenBack => Self::Drops,
        }
    }
}

impl Seats {
    /// Whether a seat is kept for somebody.
    pub(super) fn are_kept(&self) -> bool {
        self.seats.values().any(|seat| seat.members.is_empty())
    }

    /// A member sits down. What has become of the seat, if that is news.
    fn take(&mut self, name: &ByteString, member: u64, grace: Duration) -> Option<SeatChange> {
        if let Some(seat) = self.seats.get_mut(name) {
            let was_kept = seat.members.is_empty();
            if !seat.members.contains(&member) {
                seat.members.push(member);
            }
            (seat.grace, seat.until, seat.timer) = (grace, None, None);
            return was_kept.then_some(SeatChange::Returned);
        }
        self.seats.insert(name.clone(), Seat { members: vec![member], grace, until: None, timer: None });
        Some(SeatChange::Taken)
    }

    /// A member rises. What has become of the seat, if that is news, and for how long it is kept.
    fn vacate(&mut self, name: &ByteString, member: u64, departure: Departure) -> Option<(SeatChange, Duration)> {
        let seat = self.seats.get_mut(name)?;
        seat.members.retain(|other| *other != member);
        if !seat.members.is_empty() {
            return None;
        }
        let grace = seat.grace;
        if departure == Departure::Leaves || grace.is_zero() {
            self.seats.remove(name);
            return Some((SeatChange::Gone, Duration::ZERO));
        }
        if let Some(seat) = self.seats.get_mut(name) {
            seat.until = Some(Instant::now() + grace);
        }
        Some((SeatChange::Dropped, grace))
    }

    /// Nobody has come back in time, if that is still so.
    fn expire(&mut self, name: &ByteString, now: Instant) -> bool {
        let is_over = self.seats.get(name).and_then(|seat| seat.until).is_some_and(|until| until <= now);
        is_over && self.seats.remove(name).is_some()
    }
}

impl TurnQueue {
    /// A member takes a seat.
    pub(super) fn take_seat(
        self: &Arc<Self>,
        (node, topic): (&Arc<Node>, &Topic),
        (name, member): (&ByteString, u64),
        grace: Duration,
    ) {
        let news = self.with_seats(|seats| seats.take(name, member, grace)).flatten();
        self.tell_seat(node, topic, name, news);
    }

    /// A member gives its seat up, or drops from it.
    pub(super) fn rise(
        self: &Arc<Self>,
        (node, topic): (&Arc<Node>, &Topic),
        (name, member): (&ByteString, u64),
        departure: Departure,
    ) {
        let news = self.with_seats(|seats| {
            let (change, grace) = seats.vacate(name, member, departure)?;
            let Some(seat) = seats.seats.get_mut(name) else { return Some(change) };
            let Some(place) = node.idle.keep(0) else {
                seats.seats.remove(name);
                return Some(SeatChange::Gone);
            };
            let deadline = wait((Arc::clone(self), Arc::clone(node)), (topic.clone(), name.clone()), grace);
            seat.timer = Some(GraceTimer { timer: tokio::spawn(deadline).abort_handle(), _permit: place });
            Some(change)
        });
        self.tell_seat(node, topic, name, news.flatten());
    }

    /// A grace period is over.
    pub(super) async fn expire_seat(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic, name: &ByteString) {
        if self.with_seats(|seats| seats.expire(name, Instant::now())) == Some(true) {
            self.change_seat(node, topic, name, SeatChange::Gone).await;
        }
    }

    /// A seat's turn: the plugin is told.
    pub(super) async fn change_seat(
        self: &Arc<Self>,
        node: &Arc<Node>,
        topic: &Topic,
        name: &ByteString,
        change: SeatChange,
    ) {
        let Some(route) = node.routes.find(topic.as_str()) else { return };
        if !route.spec.has_room() || !route.takes.seats {
            return;
        }
        let callback = TopicCallback::Seat { name: name.clone(), change };
        if let Err(fault) = node.topic_turn(self, topic, &route, callback).await {
            let failed = Failed { seat: Some(name), ..Failed::in_callback("handle_seat") };
            node.log_topic_fault(&route, topic, failed, &fault);
        }
    }

    /// Has the plugin told in a turn of the seat's own, behind what waits.
    fn tell_seat(self: &Arc<Self>, node: &Arc<Node>, topic: &Topic, name: &ByteString, news: Option<SeatChange>) {
        if news.is_some() {
            self.post_seat(node, topic, name, news);
        }
    }
}

/// Waits for the end of a grace period. It keeps the line, and with it the room, until then.
async fn wait((queue, node): (Arc<TurnQueue>, Arc<Node>), (topic, name): (Topic, ByteString), grace: Duration) {
    tokio::time::sleep(grace).await;
    queue.post_seat(&node, &topic, &name, None);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    #[test]
    fn a_seat_is_kept_for_who_drops_and_gone_with_who_leaves() {
        let (mut seats, ada) = (Seats::default(), ByteString::from_static("ada"));
        assert_eq!(seats.take(&ada, 1, GRACE), Some(SeatChange::Taken));
        // A second window of hers changes nothing.
        assert_eq!(seats.take(&ada, 2, GRACE), None);
        assert_eq!(seats.vacate(&ada, 1, Departure::Drops), None);
        assert_eq!(seats.vacate(&ada, 2, Departure::Drops), Some((SeatChange::Dropped, GRACE)));
        assert!(seats.are_kept());
        assert_eq!(seats.take(&ada, 3, GRACE), Some(SeatChange::Returned));
        let later = Instant::now() + GRACE;
        assert!(!seats.are_kept() && !seats.expire(&ada, later), "she came back in time");
        assert_eq!(seats.vacate(&ada, 3, Departure::Leaves), Some((SeatChange::Gone, Duration::ZERO)));
        assert_eq!(seats.vacate(&ada, 3, Departure::Leaves), None);
        assert_eq!(seats.take(&ada, 4, GRACE), Some(SeatChange::Taken));
        assert_eq!(seats.vacate(&ada, 4, Departure::Drops), Some((SeatChange::Dropped, GRACE)));
        assert!(!seats.expire(&ada, Instant::now()), "it is another grace period");
        let later = Instant::now() + GRACE;
        assert!(seats.expire(&ada, later) && !seats.expire(&ada, later));
    }

    #[test]
    fn without_a_grace_period_who_drops_is_gone() {
        let (mut seats, ada) = (Seats::default(), ByteString::from_static("ada"));
        seats.take(&ada, 1, Duration::ZERO);
        assert_eq!(seats.vacate(&ada, 1, Departure::Drops), Some((SeatChange::Gone, Duration::ZERO)));
    }
}
