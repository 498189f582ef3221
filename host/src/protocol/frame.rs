//! One message in its frame, on its way to or from a client.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

/// What a client sent: one message, however many WebSocket frames it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A text message.
    Text(ByteString),
    /// A binary message.
    Binary(Bytes),
}

impl Incoming {
    /// Bytes of the message.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the message has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An encoded message for clients, behind the header of its WebSocket frame. What a server sends is never masked (RFC 6455,
/// 5.1), so every connection writes the same bytes, and cloning shares them: one encoding serves all subscribers of a topic.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Arc<[u8]>);

/// The first byte of a text frame that is a whole message.
const TEXT: u8 = 0x81;
/// The first byte of a binary one.
const BINARY: u8 = 0x82;
/// The first byte of a close.
const CLOSE: u8 = 0x88;
/// The first byte of a pong.
const PONG: u8 = 0x8A;

/// The longest header of a frame without a mask.
const HEADER_BYTES_MAX: usize = 10;

/// What a thread keeps of the room that it writes frames in, before they have their size.
const BUFFER_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static BUFFER: Cell<String> = const { Cell::new(String::new()) };
}

impl Frame {
    /// A text frame.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::compose(|buffer| buffer.push_str(text))
    }

    /// A text frame of what `write` adds to an empty string.
    pub(super) fn compose(write: impl FnOnce(&mut String)) -> Self {
        let mut buffer = BUFFER.take();
        // Where the header will stand.
        buffer.extend([' '; HEADER_BYTES_MAX]);
        write(&mut buffer);
        let mut bytes = buffer.into_bytes();
        let frame = Self::finish(&mut bytes, TEXT);
        bytes.clear();
        bytes.shrink_to(BUFFER_BYTES_MAX);
        BUFFER.set(String::from_utf8(bytes).unwrap_or_default());
        frame
    }

    /// A binary frame of so many parts.
    #[must_use]
    pub fn binary(parts: &[&[u8]]) -> Self {
        Self::of(BINARY, parts)
    }

    /// The answer to a ping, which repeats what that carried.
    #[must_use]
    pub fn pong(payload: &[u8]) -> Self {
        Self::of(PONG, &[payload])
    }

    /// A close, with a code or without.
    #[must_use]
    pub fn close(code: Option<u16>) -> Self {
        match code {
            Some(code) => Self::of(CLOSE, &[&code.to_be_bytes()]),
            None => Self::of(CLOSE, &[]),
        }
    }

    fn of(first: u8, parts: &[&[u8]]) -> Self {
        let mut bytes = vec![0; HEADER_BYTES_MAX];
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Self::finish(&mut bytes, first)
    }

    /// Writes the header right before the message, which begins behind the room for it.
    fn finish(bytes: &mut [u8], first: u8) -> Self {
        let length = bytes.len() - HEADER_BYTES_MAX;
        let start = match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..126), _) => {
                bytes[HEADER_BYTES_MAX - 1] = short;
                HEADER_BYTES_MAX - 2
            }
            (_, Ok(medium)) => {
                bytes[HEADER_BYTES_MAX - 3] = 126;
                bytes[HEADER_BYTES_MAX - 2..HEADER_BYTES_MAX].copy_from_slice(&medium.to_be_bytes());
                HEADER_BYTES_MAX - 4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..HEADER_BYTES_MAX].copy_from_slice(&(length as u64).to_be_bytes());
                0
            }
        };
        bytes[start] = first;
        Self(Arc::from(&bytes[start..]))
    }

    /// All of it, as it is written to a WebSocket.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The message alone.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        let header = match self.0[1] {
            126 => 4,
            127 => HEADER_BYTES_MAX,
            _ => 2,
        };
        &self.0[header..]
    }

    /// The message, if it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if self.0[0] != TEXT {
            return None;
        }
        str::from_utf8(self.message()).ok()
    }

    /// Bytes on the wire.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a frame always has its header")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_text() {
            Some(text) => write!(f, "Text({text:?})"),
            None => write!(f, "Binary({:?})", self.message()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_kind_and_length() {
        let cases: [(usize, &[u8]); 6] = [
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (70_000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]),
        ];
        for (length, header) in cases {
            let text = "x".repeat(length);
            let frame = Frame::text(&text);
            assert_eq!((&frame.wire()[..header.len()], frame.len()), (header, header.len() + length));
            assert_eq!(frame.as_text(), Some(&*text));
        }
        let binary = Frame::binary(&[b"\x01", b"", b"\xff"]);
        assert_eq!(Frame::pong(b"there").wire(), b"\x8a\x05there");
        assert_eq!(
            (Frame::close(Some(1013)).wire(), Frame::close(None).wire()),
            (&b"\x88\x02\x03\xf5"[..], &b"\x88\0"[..])
        );
        assert_eq!(
            (binary.wire(), binary.as_text(), binary.message()),
            (&b"\x82\x02\x01\xff"[..], None, &b"\x01\xff"[..])
        );
    }
}
