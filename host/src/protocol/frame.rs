//! Frames: messages from a client, and encoded messages for clients.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

/// A message from a client, assembled from all its WebSocket frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A text message.
    Text(ByteString),
    /// A binary message.
    Binary(Bytes),
}

impl Incoming {
    /// Returns the length of the message in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the message has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An encoded message for clients, with the header of its WebSocket frame. The message may be compressed. A server's frames
/// are never masked (RFC 6455, 5.1), so every connection writes the same bytes. A clone shares the bytes: one encoding
/// serves all subscribers of a topic.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Arc<[u8]>);

/// The first byte of a text frame that contains a whole message.
const TEXT: u8 = 0x81;
/// The first byte of a binary frame that contains a whole message.
const BINARY: u8 = 0x82;
/// The first byte of a close frame.
const CLOSE: u8 = 0x88;
/// The first byte of a pong frame.
const PONG: u8 = 0x8A;

/// The bit of the first byte that marks a compressed message (RSV1; RFC 7692, 6).
pub(super) const DEFLATED: u8 = 0x40;

/// The longest header of a frame without a mask.
pub(super) const HEADER_BYTES_MAX: usize = 10;

/// The space for the header, before the text is known. As a text, it is copied at once.
const HEADER_SPACE: &str = "          ";
const _: () = assert!(HEADER_SPACE.len() == HEADER_BYTES_MAX);

/// The largest capacity that a thread's buffer keeps between two frames.
const BUFFER_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// The buffer in which a thread writes text frames, so that an encoding needs only one allocation, of the exact size.
    static BUFFER: Cell<String> = const { Cell::new(String::new()) };
}

impl Frame {
    /// Creates a text frame.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::compose(|buffer| buffer.push_str(text))
    }

    /// Creates a text frame with the text that `write` appends to its argument.
    pub(super) fn compose(write: impl FnOnce(&mut String)) -> Self {
        let mut buffer = BUFFER.take();
        buffer.push_str(HEADER_SPACE);
        write(&mut buffer);
        let mut bytes = buffer.into_bytes();
        let frame = Self::finish(&mut bytes, TEXT);
        bytes.clear();
        bytes.shrink_to(BUFFER_BYTES_MAX);
        BUFFER.set(String::from_utf8(bytes).unwrap_or_default());
        frame
    }

    /// Creates a binary frame of these parts.
    #[must_use]
    pub fn binary(parts: &[&[u8]]) -> Self {
        Self::of(BINARY, parts)
    }

    /// Creates the answer to a ping, with the ping's payload.
    #[must_use]
    pub fn pong(payload: &[u8]) -> Self {
        Self::of(PONG, &[payload])
    }

    /// Creates a close frame, with a code or without.
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

    /// Writes the header directly before the message, which begins after the space for the longest header.
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

    /// Creates a frame like this one, whose message is compressed. The compressed message comes after the space for the
    /// longest header.
    pub(super) fn with_deflated(&self, bytes: &mut [u8]) -> Self {
        Self::finish(bytes, self.0[0] | DEFLATED)
    }

    /// Whether both are the same frame in memory.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether there is another clone of this frame. Another thread may make or drop one at any time.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Returns the whole frame for a change in place. None if there is another clone of it.
    #[must_use]
    pub fn exclusive(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.0)
    }

    /// Returns the whole frame, as it is written to a WebSocket.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Returns the message without the header.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        let header = match self.0[1] {
            126 => 4,
            127 => HEADER_BYTES_MAX,
            _ => 2,
        };
        &self.0[header..]
    }

    /// Returns the message, if it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if self.0[0] != TEXT {
            return None;
        }
        str::from_utf8(self.message()).ok()
    }

    /// Returns the length of the whole frame in bytes.
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
