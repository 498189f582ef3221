//! The seats of a topic with a room: who sits where, and for how long a seat is kept for one who dropped.

use std::collections::HashMap;
use std::time::Duration;

use bytestring::ByteString;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::idle::IdlePermit;
use crate::contract::{Ending, SeatChange};

/// The seats of one topic, by their names.
#[derive(Default)]
pub(in crate::channel::room) struct Seats {
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

/// A grace period. Its timer is cancelled when this is dropped.
pub(in crate::channel::room) struct GraceTimer {
    timer: AbortHandle,
    _permit: IdlePermit,
}

impl GraceTimer {
    pub(in crate::channel::room) fn new(timer: AbortHandle, permit: IdlePermit) -> Self {
        Self { timer, _permit: permit }
    }
}

impl Drop for GraceTimer {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

/// How a member leaves its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) enum Departure {
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
    pub(in crate::channel::room) fn are_kept(&self) -> bool {
        self.seats.values().any(|seat| seat.members.is_empty())
    }

    /// A member sits down. What has become of the seat, if that is news.
    pub(in crate::channel::room) fn take(
        &mut self,
        name: &ByteString,
        member: u64,
        grace: Duration,
    ) -> Option<SeatChange> {
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
    pub(in crate::channel::room) fn vacate(
        &mut self,
        name: &ByteString,
        member: u64,
        departure: Departure,
    ) -> Option<(SeatChange, Duration)> {
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

    /// Starts the grace period of a seat that is kept. A seat is gone if the limits don't allow a timer.
    pub(in crate::channel::room) fn keep(
        &mut self,
        name: &ByteString,
        timer: impl FnOnce() -> Option<GraceTimer>,
    ) -> Option<SeatChange> {
        let seat = self.seats.get_mut(name)?;
        seat.timer = timer();
        if seat.timer.is_some() {
            return None;
        }
        self.seats.remove(name);
        Some(SeatChange::Gone)
    }

    /// Nobody has come back in time, if that is still so.
    pub(in crate::channel::room) fn expire(&mut self, name: &ByteString, now: Instant) -> bool {
        let is_over = self.seats.get(name).and_then(|seat| seat.until).is_some_and(|until| until <= now);
        is_over && self.seats.remove(name).is_some()
    }
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
