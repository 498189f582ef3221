//! Counts how often each limit was reached, and logs that up to a rate.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::counts;

/// A client, or what it asks for, is refused because of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// The limit.
    pub limit: Limit,
    /// When it makes sense to try again. It is never zero.
    pub retry_after: Duration,
}

impl OverLimit {
    /// Creates the refusal. The time is rounded up to a millisecond.
    pub(super) fn new(limit: Limit, retry_after: Duration) -> Self {
        let ms = retry_after.as_nanos().div_ceil(1_000_000).max(1);
        Self { limit, retry_after: Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX)) }
    }

    /// The seconds for the header `Retry-After`, rounded up.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        u64::try_from(self.retry_after.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
    }

    /// The payload of an error reply, as JSON.
    #[must_use]
    pub fn reply(&self) -> String {
        let ms = self.retry_after.as_millis();
        format!(r#"{{"reason":"{}","retry_after_ms":{ms}}}"#, self.limit.reason())
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $reason:literal;)*) => {
        /// A limit of a socket, of users, of addresses, or of a plugin.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit {
            $($(#[$doc])* $name,)*
        }

        impl Limit {
            /// All limits, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns its name in the log and in the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The same limit among the counts of the metrics.
            fn counted(self) -> counts::Limit {
                match self {
                    $(Self::$name => counts::Limit::$name,)*
                }
            }

            /// Returns what a client is told.
            #[must_use]
            pub fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)*
                }
            }
        }
    };
}

limits! {
    /// Open sockets of a user.
    UserConnections = "user_connections", "too many connections";
    /// Attempts of a user to connect.
    UserConnects = "user_connects", "too many connects";
    /// Joins of a user.
    UserJoins = "user_joins", "too many joins";
    /// Messages of a user.
    UserMessages = "user_messages", "too many messages";
    /// Bytes of a user's messages.
    UserBytes = "user_bytes", "too many bytes";
    /// Faults that a user caused.
    UserFaults = "user_faults", "too many faults";
    /// Open sockets of an address.
    AddressConnections = "address_connections", "too many connections";
    /// Attempts of an address to connect.
    AddressConnects = "address_connects", "too many connects";
    /// Joins of an address.
    AddressJoins = "address_joins", "too many joins";
    /// Messages of an address.
    AddressMessages = "address_messages", "too many messages";
    /// Bytes of an address's messages.
    AddressBytes = "address_bytes", "too many bytes";
    /// Joins of a socket.
    SocketJoins = "socket_joins", "too many joins";
    /// Messages of a socket.
    SocketMessages = "socket_messages", "too many messages";
    /// Bytes of a socket's messages.
    SocketBytes = "socket_bytes", "too many bytes";
    /// Faults that an address caused.
    AddressFaults = "address_faults", "too many faults";
    /// The plugin is set aside because of its faults.
    PluginSetAside = "plugin_set_aside", "plugin set aside";
}

/// How often each limit was reached.
#[derive(Debug)]
pub(super) struct Hits(Vec<Hit>);

/// The counts are relaxed: each is a number of its own.
#[derive(Debug, Default)]
struct Hit {
    count: AtomicU64,
    /// The count at the last line of the log.
    logged: AtomicU64,
    /// The second of the last line of the log.
    logged_at: AtomicU64,
}

impl Default for Hits {
    fn default() -> Self {
        Self(Limit::ALL.iter().map(|_| Hit::default()).collect())
    }
}

impl Hits {
    pub(super) fn counts(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.iter().zip(&self.0).map(|(limit, hit)| (*limit, hit.count.load(Ordering::Relaxed)))
    }

    /// Counts a refusal. The log has at most one line in a second for each limit, with the number since the last one.
    pub(super) fn note(&self, limit: Limit, now: u64, user: Option<&str>, peer: Option<SocketAddr>) {
        let Some(hit) = self.0.get(limit as usize) else { return };
        limit.counted().hit();
        let count = hit.count.fetch_add(1, Ordering::Relaxed) + 1;
        // One, so that the first second isn't taken for "never".
        let second = now / 1_000_000_000 + 1;
        let logged_at = hit.logged_at.load(Ordering::Relaxed);
        let is_first = logged_at < second
            && hit.logged_at.compare_exchange(logged_at, second, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_first {
            let times = count.saturating_sub(hit.logged.swap(count, Ordering::Relaxed));
            let peer = peer.map(tracing::field::display);
            tracing::info!(limit = limit.as_str(), user, peer, times, "a limit of clients was reached");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_count_and_its_name() {
        let hits = Hits::default();
        (0..3).for_each(|_| hits.note(Limit::UserJoins, 5, None, None));
        let counted: Vec<_> = hits.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(Limit::UserJoins, 3)]);
        let names: std::collections::HashSet<_> = Limit::ALL.iter().map(|limit| limit.as_str()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
    }

    #[test]
    fn a_refusal_says_when_to_try_again() {
        let refusal = OverLimit::new(Limit::UserJoins, Duration::from_micros(1_000_001));
        assert_eq!(refusal.reply(), r#"{"reason":"too many joins","retry_after_ms":1001}"#);
        assert_eq!(refusal.seconds(), 2);
        assert!(OverLimit::new(Limit::UserJoins, Duration::ZERO).reply().contains(":1}"));
    }
}
