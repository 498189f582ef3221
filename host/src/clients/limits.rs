//! The limits of a socket, of a user and of an address.

/// A rate with a burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// How many per second; 0 means no limit.
    pub per_second: u64,
    /// How many at once after a pause; 0 means as many as in ten seconds.
    pub burst: u64,
}

impl RateLimit {
    /// The seconds of the rate that a burst has, unless the configuration says otherwise.
    const BURST_SECONDS: u64 = 10;

    pub(super) fn burst(self) -> u64 {
        if self.burst == 0 { self.per_second.saturating_mul(Self::BURST_SECONDS) } else { self.burst }
    }
}

/// The rates of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageRates {
    /// Joins.
    pub joins: RateLimit,
    /// Messages, joins included.
    pub messages: RateLimit,
    /// Bytes of these messages.
    pub bytes: RateLimit,
}

/// The limits of all sockets of a user, or of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScopeLimits {
    /// Open sockets; 0 means no limit.
    pub connections: u64,
    /// Attempts to connect.
    pub connects: RateLimit,
    /// Messages of these sockets.
    pub rates: MessageRates,
    /// Faults of one plugin that its messages cause in a minute; 0 means no limit.
    pub faults_per_minute: u64,
}

/// The limits of sockets, of users and of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Those of each socket, which end with it.
    pub socket: MessageRates,
    /// Those of a user.
    pub user: ScopeLimits,
    /// Those of an address.
    pub address: ScopeLimits,
}

impl MessageRates {
    fn are_limited(&self) -> bool {
        [self.joins, self.messages, self.bytes].iter().any(|rate| rate.per_second > 0)
    }
}

impl ClientLimits {
    /// Whether they limit messages.
    pub(super) fn has_rates(&self) -> bool {
        [self.socket, self.user.rates, self.address.rates].iter().any(MessageRates::are_limited)
    }
}
