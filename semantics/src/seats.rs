//! The seats of a topic: the members of each, and its grace period.

use std::collections::HashMap;
use std::ops::Add;
use std::time::Duration;

use bytestring::ByteString;

use crate::{Ending, SeatChange};

/// The seats of one topic, by name. The caller passes the time, which comes from a running clock or from a test's
/// clock.
#[derive(Clone, Debug)]
pub struct Seats<T> {
    seats: HashMap<ByteString, Seat<T>>,
}

#[derive(Clone, Debug)]
struct Seat<T> {
    /// The numbers of the members that have it.
    members: Vec<u64>,
    grace: Duration,
    /// The end of its grace period, while no member has it.
    until: Option<T>,
}

impl<T> Default for Seats<T> {
    fn default() -> Self {
        Self { seats: HashMap::new() }
    }
}

/// A seat, as another host takes it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatView<'a, T> {
    /// The numbers of the members that have it.
    pub members: &'a [u64],
    /// The length of its grace period.
    pub grace: Duration,
    /// The end of its grace period, while no member has it.
    pub until: Option<T>,
}

/// The way in which a member loses its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It leaves the topic, or gives the seat up.
    Leaves,
    /// Its connection drops. It may return.
    Drops,
}

impl From<&Ending> for Departure {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Left | Ending::Stopped(_) | Ending::Kicked(_) => Self::Leaves,
            Ending::Closed | Ending::Replaced | Ending::Shutdown | Ending::Fault(_) | Ending::RolledBack => Self::Drops,
        }
    }
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Seats<T> {
    /// Whether a seat is in its grace period.
    #[must_use]
    pub fn are_kept(&self) -> bool {
        self.seats.values().any(|seat| seat.members.is_empty())
    }

    /// The seats in their grace periods, each with its end.
    pub fn kept(&self) -> impl Iterator<Item = (T, &ByteString)> {
        self.seats.iter().filter_map(|(name, seat)| Some((seat.until?, name)))
    }

    /// All seats.
    pub fn all(&self) -> impl Iterator<Item = (&ByteString, SeatView<'_, T>)> {
        self.seats.iter().map(|(name, seat)| {
            let Seat { members, grace, until } = seat;
            (name, SeatView { members, grace: *grace, until: *until })
        })
    }

    /// Sets a seat of another host.
    pub fn adopt(&mut self, name: &ByteString, seat: SeatView<'_, T>) {
        let SeatView { members, grace, until } = seat;
        self.seats.insert(name.clone(), Seat { members: members.to_vec(), grace, until });
    }

    /// A member takes a seat. Returns the change of the seat, if it changed.
    pub fn take(&mut self, name: &ByteString, member: u64, grace: Duration) -> Option<SeatChange> {
        if let Some(seat) = self.seats.get_mut(name) {
            let was_kept = seat.members.is_empty();
            if !seat.members.contains(&member) {
                seat.members.push(member);
            }
            (seat.grace, seat.until) = (grace, None);
            return was_kept.then_some(SeatChange::Returned);
        }
        self.seats.insert(name.clone(), Seat { members: vec![member], grace, until: None });
        Some(SeatChange::Taken)
    }

    /// A member loses its seat. Returns the change of the seat, if it changed, and the end of the grace period, if one
    /// began.
    pub fn vacate(
        &mut self,
        name: &ByteString,
        member: u64,
        departure: Departure,
        now: T,
    ) -> Option<(SeatChange, Option<T>)> {
        let seat = self.seats.get_mut(name)?;
        seat.members.retain(|other| *other != member);
        if !seat.members.is_empty() {
            return None;
        }
        if departure == Departure::Leaves || seat.grace.is_zero() {
            self.seats.remove(name);
            return Some((SeatChange::Gone, None));
        }
        seat.until = Some(now + seat.grace);
        Some((SeatChange::Dropped, seat.until))
    }

    /// Removes a seat if its grace period is over. Returns whether it did.
    pub fn expire(&mut self, name: &ByteString, now: T) -> bool {
        let is_over = self.seats.get(name).and_then(|seat| seat.until).is_some_and(|until| until <= now);
        is_over && self.seats.remove(name).is_some()
    }

    /// Removes a seat.
    pub fn remove(&mut self, name: &ByteString) {
        self.seats.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time since the test's start is the time of these seats.
    type Seats = super::Seats<Duration>;

    const GRACE: Duration = Duration::from_secs(5);

    #[test]
    fn a_seat_is_kept_after_a_drop_and_gone_after_a_leave() {
        let (mut seats, ada) = (Seats::default(), ByteString::from_static("ada"));
        assert_eq!(seats.take(&ada, 1, GRACE), Some(SeatChange::Taken));
        // A second member of the same person doesn't change the seat.
        assert_eq!(seats.take(&ada, 2, GRACE), None);
        assert_eq!(seats.vacate(&ada, 1, Departure::Drops, Duration::ZERO), None);
        assert_eq!(seats.vacate(&ada, 2, Departure::Drops, Duration::ZERO), Some((SeatChange::Dropped, Some(GRACE))));
        assert!(seats.are_kept());
        assert_eq!(seats.take(&ada, 3, GRACE), Some(SeatChange::Returned));
        let later = GRACE;
        assert!(!seats.are_kept() && !seats.expire(&ada, later), "the member returned in time");
        assert_eq!(seats.vacate(&ada, 3, Departure::Leaves, Duration::ZERO), Some((SeatChange::Gone, None)));
        assert_eq!(seats.vacate(&ada, 3, Departure::Leaves, Duration::ZERO), None);
        assert_eq!(seats.take(&ada, 4, GRACE), Some(SeatChange::Taken));
        assert_eq!(seats.vacate(&ada, 4, Departure::Drops, Duration::ZERO), Some((SeatChange::Dropped, Some(GRACE))));
        assert!(!seats.expire(&ada, Duration::ZERO), "it is another grace period");
        let later = GRACE;
        assert!(seats.expire(&ada, later) && !seats.expire(&ada, later));
    }

    #[test]
    fn a_seat_without_a_grace_period_is_gone_after_a_drop() {
        let (mut seats, ada) = (Seats::default(), ByteString::from_static("ada"));
        seats.take(&ada, 1, Duration::ZERO);
        assert_eq!(seats.vacate(&ada, 1, Departure::Drops, Duration::ZERO), Some((SeatChange::Gone, None)));
    }
}
