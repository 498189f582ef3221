//! How much may wait for a channel.

/// The limits of channels that aren't those of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Entries of a channel that wait and came from its client. Past it that socket isn't read until one is handled.
    pub from_client: usize,
    /// Bytes of the entries that wait for all channels of a socket and came from its client. Past it likewise.
    pub bytes_from_client: usize,
    /// Entries of a channel that wait and came from elsewhere. Past it: fault, overflow.
    pub from_elsewhere: usize,
    /// Bytes of those entries, and of the member's timers. Past it likewise.
    pub bytes_from_elsewhere: usize,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self { from_client: 64, bytes_from_client: 4 << 20, from_elsewhere: 1024, bytes_from_elsewhere: 4 << 20 }
    }
}

/// The most messages on their way to `handle_message` in all topics of one plugin: the queue of a topic is bounded, but a plugin
/// can have any number of topics. Past it: fault, overflow.
pub const IN_FLIGHT_MAX: usize = 16_384;

/// The most bytes of those messages.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
