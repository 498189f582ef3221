//! The limits of queues.

/// The limits of a channel's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Jobs in the queue that come from the channel's client. At the limit the socket isn't read until a job is done.
    pub from_client: usize,
    /// Bytes of such jobs, of all channels of the socket. At the limit the socket isn't read until a job is done.
    pub bytes_from_client: usize,
    /// Jobs in the queue that come from elsewhere. Past the limit: fault, overflow.
    pub from_elsewhere: usize,
    /// Bytes of those jobs, and of the member's timers. Past the limit: fault, overflow.
    pub bytes_from_elsewhere: usize,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self { from_client: 64, bytes_from_client: 4 << 20, from_elsewhere: 1024, bytes_from_elsewhere: 4 << 20 }
    }
}

/// The most topic messages in the queues of all topics of one plugin. The queue of a topic is bounded too, but a plugin
/// can have any number of topics. Past the limit: fault, overflow.
pub const IN_FLIGHT_MAX: usize = 16_384;

/// The most bytes of those messages.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
