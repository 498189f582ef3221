//! The close codes of connections.

/// A WebSocket close code, and its meaning here. phoenix.js reconnects after each code. Its versions before 1.8.13
/// don't reconnect after [`Normal`](CloseCode::Normal).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The client closed the connection, and this is the answer.
    Normal = 1000,
    /// The socket was disconnected by its id.
    GoingAway = 1001,
    /// The client broke the rules of WebSocket framing, or was silent for too long.
    ProtocolError = 1002,
    /// A text frame wasn't UTF-8.
    InvalidText = 1007,
    /// The client sends more than twice the allowed number of messages per second.
    PolicyViolation = 1008,
    /// A frame or a message is over the size limit.
    TooBig = 1009,
    /// A frame can't be read as a message.
    Malformed = 1011,
    /// The host is stopping. The client should reconnect: to another host, or to this one after its restart.
    ServiceRestart = 1012,
    /// The client reads more slowly than frames are sent to it.
    SlowConsumer = 1013,
}

impl CloseCode {
    /// Returns the number on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }
}
