//! Messages of Socket.IO 4 over a WebSocket: the packet type of Engine.IO (a digit), the packet type of Socket.IO (a
//! digit), an acknowledgement number if an answer is wanted, and an array.

use super::phoenix::number;

/// A message of a server.
#[derive(Debug, PartialEq)]
pub(crate) enum Packet<'a> {
    /// The connection is open. The client has to send [`CONNECT`].
    Open,
    /// The client is in the namespace.
    Connected,
    /// The client has to send [`PONG`].
    Ping,
    /// An event's name and its argument.
    Event(&'a [u8], &'a [u8]),
    /// The answer to the message with this number.
    Answer(u64, &'a [u8]),
    Other,
}

/// A client's request to connect to the namespace.
pub(crate) const CONNECT: &[u8] = b"40";

/// A client's answer to a ping.
pub(crate) const PONG: &[u8] = b"3";

impl<'a> Packet<'a> {
    pub(crate) fn read(text: &'a [u8]) -> Self {
        match text {
            b"2" => Self::Ping,
            [b'0', ..] => Self::Open,
            [b'4', b'0', ..] => Self::Connected,
            [b'4', b'2', rest @ ..] => event(rest).unwrap_or(Self::Other),
            [b'4', b'3', rest @ ..] => answer(rest).unwrap_or(Self::Other),
            _ => Self::Other,
        }
    }
}

/// `["name",argument]`
fn event(text: &[u8]) -> Option<Packet<'_>> {
    let inside = text.strip_prefix(b"[\"")?.strip_suffix(b"]")?;
    let (name, rest) = inside.split_at(memchr::memchr(b'"', inside)?);
    Some(Packet::Event(name, rest.strip_prefix(b"\",").unwrap_or_default()))
}

/// `12[argument]`
fn answer(text: &[u8]) -> Option<Packet<'_>> {
    let (digits, argument) = text.split_at(memchr::memchr(b'[', text)?);
    Some(Packet::Answer(number(digits)?, argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_all_types_are_read() {
        assert_eq!(Packet::read(br#"0{"sid":"a"}"#), Packet::Open);
        assert_eq!(Packet::read(br#"40{"sid":"a"}"#), Packet::Connected);
        assert_eq!(Packet::read(b"2"), Packet::Ping);
        assert_eq!(Packet::read(br#"42["shout",{"t":1}]"#), Packet::Event(b"shout", br#"{"t":1}"#));
        assert_eq!(Packet::read(br#"42["left"]"#), Packet::Event(b"left", b""));
        assert_eq!(Packet::read(br#"4312[{"p":1}]"#), Packet::Answer(12, br#"[{"p":1}]"#));
        for other in ["", "41", "42", "43[1]", "44{}", "6"] {
            assert_eq!(Packet::read(other.as_bytes()), Packet::Other, "{other}");
        }
    }
}
