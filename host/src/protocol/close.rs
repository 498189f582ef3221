//! Why a connection is closed, as a number that the client sees.

/// A WebSocket close code, with what it means here. phoenix.js reconnects after each of them but
/// [`Normal`](CloseCode::Normal), which its versions before 1.8.13 took for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// The client closed, and this is the answer.
    Normal = 1000,
    /// The socket was disconnected by its id.
    GoingAway = 1001,
    /// The client broke the rules of WebSocket framing, or was silent for too long.
    ProtocolError = 1002,
    /// A text frame wasn't UTF-8.
    InvalidText = 1007,
    /// The client sends at more than twice the rate that it may.
    PolicyViolation = 1008,
    /// A frame or a message over the limit.
    TooBig = 1009,
    /// A frame that no serializer can read.
    Malformed = 1011,
    /// The host is stopping; another, or the same one started anew, will serve.
    ServiceRestart = 1012,
    /// The client reads more slowly than its topics speak.
    SlowConsumer = 1013,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }
}
