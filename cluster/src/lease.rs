//! Whether this node may still act as its owner of topics.
//!
//! Others declare a node dead only after its beat stood still for a whole lease. The node itself counts its lease as over after eight tenths of
//! that, from before it asked for the renewal. So it stops before anybody else begins. No clocks of two machines are compared: the two
//! tenths are for clocks that don't run equally fast, and for what a node does after it has looked at its lease.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::moment::Moment;

/// What a lease is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Nobody can have taken anything over.
    Good,
    /// Somebody may have taken everything over. It can become good again.
    Suspended,
    /// This start of the node is over.
    Fenced,
}

/// The lease of one start of a node. It is renewed by one thread and read by all.
#[derive(Debug)]
pub struct Lease {
    /// In nanoseconds. It runs out at this moment, or is [`FENCED`].
    until: AtomicU64,
    length: Duration,
    renewals: AtomicU64,
    misses: AtomicU64,
}

const FENCED: u64 = u64::MAX;

impl Lease {
    /// A lease whose first renewal was sent at this moment. After `length` others may declare the node dead.
    #[must_use]
    pub fn new(length: Duration, sent_at: Moment) -> Self {
        let until = AtomicU64::new(end(length, sent_at));
        Self { until, length, renewals: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// After which time others may declare the node dead.
    #[must_use]
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// A renewal that was sent at this moment has succeeded.
    pub fn renewed(&self, sent_at: Moment) {
        self.renewals.fetch_add(1, Ordering::Relaxed);
        let until = end(self.length, sent_at);
        let later = |old: u64| (old != FENCED).then_some(old.max(until));
        // It fails if the lease is fenced, which stays.
        let _fenced = self.until.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// A renewal has failed.
    pub fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// How many renewals have succeeded and failed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.renewals.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// The table says that this start is over.
    pub fn fence(&self) {
        self.until.store(FENCED, Ordering::Release);
    }

    /// What the lease is.
    #[must_use]
    pub fn state(&self, now: Moment) -> LeaseState {
        match self.until.load(Ordering::Acquire) {
            FENCED => LeaseState::Fenced,
            until if now.nanoseconds() < until => LeaseState::Good,
            _ => LeaseState::Suspended,
        }
    }

    /// Whether the lease is good now. One atomic load, and one reading of the clock, without which a process that was stopped would
    /// believe in what it knew before.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.state(Moment::now()) == LeaseState::Good
    }

    /// When it runs out, unless it is fenced.
    #[must_use]
    pub fn until(&self) -> Option<Moment> {
        Some(self.until.load(Ordering::Acquire)).filter(|until| *until != FENCED).map(Moment::from_nanoseconds)
    }

    /// When the last renewal that succeeded was sent, unless it is fenced.
    #[must_use]
    pub fn renewed_at(&self) -> Option<Moment> {
        let until = self.until()?;
        Some(Moment::START + until.since(Moment::START + good_for(self.length)))
    }
}

/// For how long a lease is good after its renewal was sent.
fn good_for(length: Duration) -> Duration {
    length * 8 / 10
}

/// When a lease runs out whose renewal was sent at this moment, in nanoseconds.
fn end(length: Duration, sent_at: Moment) -> u64 {
    (sent_at + good_for(length)).nanoseconds().min(FENCED - 1)
}

/// When a lease is renewed.
#[derive(Clone, Copy, Debug)]
pub struct Renewals {
    length: Duration,
    next: Moment,
}

impl Renewals {
    /// The renewals of a lease whose first one was sent at this moment.
    #[must_use]
    pub fn new(length: Duration, sent_at: Moment) -> Self {
        Self { length, next: sent_at + length / 5 }
    }

    /// When the next one is sent.
    #[must_use]
    pub const fn next(&self) -> Moment {
        self.next
    }

    /// How long an answer is waited for. An answer that comes later than the next renewal is worth little.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.length / 5
    }

    /// One that was sent at this moment has succeeded.
    pub fn renewed(&mut self, sent_at: Moment) {
        self.next = sent_at + self.length / 5;
    }

    /// One has failed at this moment. It is tried again soon, because each one that succeeds later shortens a suspension.
    pub fn missed(&mut self, now: Moment) {
        self.next = now + self.length / 40;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanoseconds((1_000_000 + milliseconds) * 1_000_000)
    }

    #[test]
    fn a_lease_is_good_for_eight_tenths_from_before_it_was_asked_for() {
        let lease = Lease::new(LENGTH, at(0));
        assert_eq!(lease.state(at(0)), LeaseState::Good);
        assert_eq!(lease.state(at(7_999)), LeaseState::Good);
        assert_eq!(lease.state(at(8_000)), LeaseState::Suspended);
        lease.renewed(at(2_000));
        assert_eq!(lease.state(at(9_999)), LeaseState::Good);
        assert_eq!(lease.until(), Some(at(10_000)));
    }

    #[test]
    fn an_answer_that_comes_late_shortens_nothing() {
        let lease = Lease::new(LENGTH, at(4_000));
        lease.renewed(at(2_000));
        lease.missed();
        assert_eq!((lease.until(), lease.counts()), (Some(at(12_000)), (1, 1)));
        assert_eq!(lease.renewed_at(), Some(at(4_000)));
    }

    #[test]
    fn a_suspended_lease_can_be_renewed_and_a_fenced_one_can_not() {
        let lease = Lease::new(LENGTH, at(0));
        assert_eq!(lease.state(at(30_000)), LeaseState::Suspended);
        lease.renewed(at(30_000));
        assert_eq!(lease.state(at(30_001)), LeaseState::Good);
        lease.fence();
        lease.renewed(at(31_000));
        assert_eq!((lease.state(at(31_000)), lease.until(), lease.renewed_at()), (LeaseState::Fenced, None, None));
        assert!(!lease.is_good());
    }

    #[test]
    fn the_clock_is_read_at_each_look() {
        assert!(Lease::new(Duration::from_secs(3_600), Moment::now()).is_good());
        assert!(!Lease::new(Duration::ZERO, Moment::now()).is_good());
    }

    #[test]
    fn renewals_are_five_in_a_lease_and_more_after_a_miss() {
        let mut renewals = Renewals::new(LENGTH, at(0));
        assert_eq!((renewals.next(), renewals.timeout()), (at(2_000), Duration::from_secs(2)));
        renewals.missed(at(3_000));
        assert_eq!(renewals.next(), at(3_250));
        renewals.renewed(at(3_250));
        assert_eq!(renewals.next(), at(5_250));
    }
}
