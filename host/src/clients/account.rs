//! The account of a user or of an address, and the part of it that a socket has, too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bucket::Bucket;
use super::client::Act;
use super::faults::AccountFaults;
use super::hits::{Limit, OverLimit};
use super::limits::{MessageRates, ScopeLimits};

/// What the sockets of a user or of an address have done together.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) connects: Bucket,
    rates: RateBuckets,
    /// The open sockets of a user. Relaxed, because a socket that is counted publishes nothing.
    pub(super) open: AtomicU64,
    /// The time of the last refusal because of a rate or of the number of sockets, and the limit. They are for people only,
    /// so they may be of two different refusals.
    limited_at: AtomicU64,
    limited_by: AtomicU64,
    /// A lock, because faults are rare, and there are several numbers for each.
    faults: Mutex<AccountFaults>,
}

/// The messages of a socket, or of all sockets of an account.
#[derive(Debug, Default)]
pub(super) struct RateBuckets {
    joins: Bucket,
    messages: Bucket,
    bytes: Bucket,
}

/// The names of the limits of rates.
#[derive(Clone, Copy)]
pub(super) struct RateNames {
    joins: Limit,
    messages: Limit,
    bytes: Limit,
}

/// The names of an account's limits.
#[derive(Clone, Copy)]
pub(super) struct LimitNames {
    pub(super) connections: Limit,
    pub(super) connects: Limit,
    rates: RateNames,
    pub(super) faults: Limit,
}

pub(super) const OF_SOCKET: RateNames =
    RateNames { joins: Limit::SocketJoins, messages: Limit::SocketMessages, bytes: Limit::SocketBytes };

pub(super) const OF_USER: LimitNames = LimitNames {
    connections: Limit::UserConnections,
    connects: Limit::UserConnects,
    rates: RateNames { joins: Limit::UserJoins, messages: Limit::UserMessages, bytes: Limit::UserBytes },
    faults: Limit::UserFaults,
};

pub(super) const OF_ADDRESS: LimitNames = LimitNames {
    connections: Limit::AddressConnections,
    connects: Limit::AddressConnects,
    rates: RateNames { joins: Limit::AddressJoins, messages: Limit::AddressMessages, bytes: Limit::AddressBytes },
    faults: Limit::AddressFaults,
};

/// How long a refusal because of a rate is shown, in nanoseconds.
const SHOWN_FOR: u64 = 10_000_000_000;

impl RateBuckets {
    /// Counts a message.
    ///
    /// # Errors
    /// If it is over a limit.
    pub(super) fn take(&self, now: u64, act: Act, limits: &MessageRates, names: RateNames) -> Result<(), OverLimit> {
        let over = |limit: Limit| move |wait| OverLimit::new(limit, wait);
        self.messages.take(now, 1, limits.messages).map_err(over(names.messages))?;
        self.bytes.take(now, act.bytes(), limits.bytes).map_err(over(names.bytes))?;
        if let Act::Join { .. } = act {
            self.joins.take(now, 1, limits.joins).map_err(over(names.joins))?;
        }
        Ok(())
    }

    fn are_full(&self, now: u64) -> bool {
        [&self.joins, &self.messages, &self.bytes].iter().all(|bucket| bucket.is_full(now))
    }
}

impl Account {
    /// Counts a message.
    ///
    /// # Errors
    /// If it is over a limit.
    pub(super) fn take(&self, now: u64, act: Act, limits: &ScopeLimits, names: LimitNames) -> Result<(), OverLimit> {
        self.rates.take(now, act, &limits.rates, names.rates).map_err(|refusal| self.over(now, refusal))
    }

    /// Remembers a refusal.
    pub(super) fn over(&self, now: u64, refusal: OverLimit) -> OverLimit {
        self.limited_by.store(refusal.limit as u64, Ordering::Relaxed);
        self.limited_at.store(now, Ordering::Relaxed);
        refusal
    }

    /// The limit that has refused something a moment ago.
    pub(super) fn limited_by(&self, now: u64) -> Option<Limit> {
        let at = self.limited_at.load(Ordering::Relaxed);
        let is_recent = at > 0 && now.saturating_sub(at) < SHOWN_FOR;
        let limit = usize::try_from(self.limited_by.load(Ordering::Relaxed)).ok()?;
        is_recent.then(|| Limit::ALL.get(limit).copied()).flatten()
    }

    /// Whether it may be forgotten, because it limits nothing.
    pub(super) fn is_at_rest(&self, now: u64) -> bool {
        self.connects.is_full(now) && self.rates.are_full(now) && self.faults().is_forgotten(now)
    }

    /// No change can panic half-way, so a poisoned lock is still valid.
    pub(super) fn faults(&self) -> MutexGuard<'_, AccountFaults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
