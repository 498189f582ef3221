//! Limits of the client.

use std::time::Duration;

/// The maximum number of bytes of a URL.
pub const URL_BYTES_MAX: usize = 8 << 10;

/// The maximum number of headers of a request or an answer.
pub const HEADERS_MAX: usize = 100;

/// The maximum number of bytes of the headers of a request or an answer.
pub const HEADER_BYTES_MAX: usize = 64 << 10;

/// The maximum number of redirects that are followed for one request.
pub const REDIRECTS_MAX: usize = 5;

/// The maximum number of addresses of a name that are tried.
pub(crate) const ADDRESSES_MAX: usize = 4;

/// The maximum time to connect to one address.
pub const CONNECTING: Duration = Duration::from_secs(5);

/// The maximum number of names that are looked up at once. The operating system may take long for each, and can't be told to stop.
pub(crate) const LOOKUPS_MAX: usize = 16;

/// The maximum number of connections that wait for a next request, and how many of them go to one server.
pub const IDLE_CONNECTIONS_MAX: usize = 64;
pub(crate) const IDLE_PER_ORIGIN_MAX: usize = 8;

/// The time after an answer within which its connection must be ready for a next request.
pub(crate) const READY_WITHIN: Duration = Duration::from_millis(20);

/// The time after which such a connection is closed.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

/// The limits that an operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundLimits {
    /// Bytes of the body of a request. Past it: the request is refused.
    pub sent_bytes: usize,
    /// Bytes of the body of an answer, as received and as decoded. Past it: `too-large`.
    pub received_bytes: usize,
    /// Time from the request to the end of the answer, redirects included. Past it: `timeout`.
    pub whole: Duration,
    /// Requests of one plugin at once. Past it: `busy`.
    pub at_once_per_plugin: usize,
    /// Requests of all plugins at once. Past it: `busy`.
    pub at_once: usize,
}

impl Default for OutboundLimits {
    fn default() -> Self {
        Self {
            sent_bytes: 1 << 20,
            received_bytes: 1 << 20,
            whole: Duration::from_secs(30),
            at_once_per_plugin: 32,
            at_once: 256,
        }
    }
}
