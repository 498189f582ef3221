//! The seats of a topic, with the timers of their grace periods.

use std::collections::HashMap;
use std::time::Duration;

use bytestring::ByteString;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::idle::IdlePermit;
use crate::contract::{self, Departure, SeatChange, SeatView};

/// The seats of one topic, with the timers of their grace periods.
#[derive(Default)]
pub(in crate::channel::room) struct Seats {
    seats: contract::Seats<Instant>,
    /// The timers of the seats in their grace periods, by name.
    timers: HashMap<ByteString, GraceTimer>,
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

impl Seats {
    /// Whether a seat is in its grace period.
    pub(in crate::channel::room) fn are_kept(&self) -> bool {
        self.seats.are_kept()
    }

    /// All seats.
    pub(in crate::channel::room) fn all(&self) -> impl Iterator<Item = (&ByteString, SeatView<'_, Instant>)> {
        self.seats.all()
    }

    /// Sets a seat of another host, with the timer of its grace period if one has begun.
    pub(in crate::channel::room) fn adopt(
        &mut self,
        name: &ByteString,
        seat: SeatView<'_, Instant>,
        timer: Option<GraceTimer>,
    ) {
        self.seats.adopt(name, seat);
        self.timers.extend(timer.map(|timer| (name.clone(), timer)));
    }

    /// A member takes a seat. Returns the change of the seat, if it changed.
    pub(in crate::channel::room) fn take(
        &mut self,
        name: &ByteString,
        member: u64,
        grace: Duration,
    ) -> Option<SeatChange> {
        self.timers.remove(name);
        self.seats.take(name, member, grace)
    }

    /// A member loses its seat. Returns the change of the seat, if it changed, and the end of the grace period, if one
    /// began: then [`keep`](Self::keep) has to follow.
    pub(in crate::channel::room) fn vacate(
        &mut self,
        name: &ByteString,
        member: u64,
        departure: Departure,
    ) -> Option<(SeatChange, Option<Instant>)> {
        let (change, until) = self.seats.vacate(name, member, departure, Instant::now())?;
        if until.is_none() {
            self.timers.remove(name);
        }
        Some((change, until))
    }

    /// Sets the timer of a grace period that began. `None` means that the limits allow no timer; then the seat is gone.
    pub(in crate::channel::room) fn keep(
        &mut self,
        name: &ByteString,
        timer: Option<GraceTimer>,
    ) -> Option<SeatChange> {
        if let Some(timer) = timer {
            self.timers.insert(name.clone(), timer);
            return None;
        }
        self.timers.remove(name);
        self.seats.remove(name);
        Some(SeatChange::Gone)
    }

    /// Removes a seat if its grace period is over. Returns whether it did.
    pub(in crate::channel::room) fn expire(&mut self, name: &ByteString, now: Instant) -> bool {
        let is_gone = self.seats.expire(name, now);
        if is_gone {
            self.timers.remove(name);
        }
        is_gone
    }
}
