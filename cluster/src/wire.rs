//! Frames between nodes.

/// The most bytes of one message.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;
