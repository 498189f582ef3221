//! Parses a client's bytes as WebSocket (RFC 6455): frames, masks, messages in several frames, and control frames.
//!
//! It does no I/O: bytes come in, and [`ReadEvent`]s come out. It keeps at most the beginning of one message, of limited
//! size. The bytes of an incomplete frame stay with the caller.

use bytes::Bytes;
use bytestring::ByteString;

use crate::protocol::{CloseCode, Incoming};

/// A complete message or control frame from the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadEvent {
    /// A message.
    Message(Incoming),
    /// A ping, with the payload that the pong must repeat.
    Ping(Bytes),
    /// A pong. The host sends no pings, so this only shows that the client is alive.
    Pong,
    /// A close frame, with its code if it has one.
    Close(Option<u16>),
}

/// Parses the bytes of one client.
#[derive(Debug)]
pub(super) struct Reader {
    /// The most bytes of a message.
    message_bytes_max: usize,
    /// The beginning of a message whose last frame hasn't come yet. Boxed, because most connections don't have one.
    begun: Option<Box<PartialMessage>>,
    /// Whether the client broke the protocol, so that further bytes can't be parsed.
    is_broken: bool,
}

#[derive(Debug)]
struct PartialMessage {
    is_text: bool,
    bytes: Vec<u8>,
}

/// The header of a frame.
struct Header {
    is_last: bool,
    kind: Kind,
    mask: [u8; 4],
    /// Bytes of the header itself.
    bytes: usize,
    /// Bytes of the payload, which follows the header.
    payload: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The most bytes of the payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: usize = 125;

impl Reader {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, begun: None, is_broken: false }
    }

    /// Returns the next complete message or control frame, and removes its bytes from the front of `input`. Returns none if
    /// more bytes are needed.
    ///
    /// # Errors
    /// The code to close with, if the client breaks the protocol or a message is too large. All later bytes are discarded.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<ReadEvent>, CloseCode> {
        let next = self.read(input);
        self.is_broken |= next.is_err();
        next
    }

    fn read(&mut self, input: &mut &[u8]) -> Result<Option<ReadEvent>, CloseCode> {
        if self.is_broken {
            *input = &[];
        }
        loop {
            let Some(header) = self.header(input)? else { return Ok(None) };
            let end = header.bytes + header.payload;
            let Some((frame, rest)) = input.split_at_checked(end) else { return Ok(None) };
            let payload = &frame[header.bytes..];
            *input = rest;
            if let Some(event) = self.on_frame(&header, payload)? {
                return Ok(Some(event));
            }
        }
    }

    /// Parses the header of the next frame, and checks it before the payload has come. Returns none if more bytes are
    /// needed.
    fn header(&self, input: &[u8]) -> Result<Option<Header>, CloseCode> {
        let [first, second, ..] = *input else { return Ok(None) };
        let is_last = first & 0x80 != 0;
        let kind = Kind::of(first).ok_or(CloseCode::ProtocolError)?;
        if second & 0x80 == 0 {
            // A client must mask its frames (5.1).
            return Err(CloseCode::ProtocolError);
        }
        let (payload, at) = match second & 0x7f {
            126 => match input.get(2..4) {
                Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
                _ => return Ok(None),
            },
            127 => match input.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
                Some(bytes) => (u64::from_be_bytes(bytes), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        let payload = usize::try_from(payload).map_err(|_| CloseCode::TooBig)?;
        self.check(kind, is_last, payload)?;
        let Some(mask) = input.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()) else { return Ok(None) };
        Ok(Some(Header { is_last, kind, mask, bytes: at + 4, payload }))
    }

    fn check(&self, kind: Kind, is_last: bool, payload: usize) -> Result<(), CloseCode> {
        let (is_begun, had) = (self.begun.is_some(), self.begun.as_ref().map_or(0, |begun| begun.bytes.len()));
        let is_in_order = match kind {
            Kind::Close | Kind::Ping | Kind::Pong => return control(is_last, payload),
            Kind::Continuation => is_begun,
            Kind::Text | Kind::Binary => !is_begun,
        };
        if !is_in_order {
            return Err(CloseCode::ProtocolError);
        }
        if had.saturating_add(payload) > self.message_bytes_max {
            return Err(CloseCode::TooBig);
        }
        Ok(())
    }

    fn on_frame(&mut self, header: &Header, payload: &[u8]) -> Result<Option<ReadEvent>, CloseCode> {
        let unmasked = || {
            let mut bytes = Vec::with_capacity(payload.len());
            unmask(payload, header.mask, &mut bytes);
            bytes
        };
        match header.kind {
            Kind::Ping => Ok(Some(ReadEvent::Ping(unmasked().into()))),
            Kind::Pong => Ok(Some(ReadEvent::Pong)),
            Kind::Close => close(&unmasked()).map(Some),
            Kind::Text | Kind::Binary => {
                let is_text = header.kind == Kind::Text;
                if header.is_last {
                    return message(is_text, unmasked()).map(Some);
                }
                self.begun = Some(Box::new(PartialMessage { is_text, bytes: unmasked() }));
                Ok(None)
            }
            Kind::Continuation => {
                let Some(begun) = &mut self.begun else { return Err(CloseCode::ProtocolError) };
                unmask(payload, header.mask, &mut begun.bytes);
                if !header.is_last {
                    return Ok(None);
                }
                let whole = self.begun.take().map(|begun| *begun);
                whole.map(|PartialMessage { is_text, bytes }| message(is_text, bytes)).transpose()
            }
        }
    }
}

impl Kind {
    /// Returns the kind in the first byte of a frame. None for reserved bits and kinds, because no extension is negotiated.
    fn of(first: u8) -> Option<Self> {
        match first & 0x7f {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }
}

/// Checks a control frame: it must not be fragmented, and must be short (5.5).
fn control(is_last: bool, payload: usize) -> Result<(), CloseCode> {
    if is_last && payload <= CONTROL_BYTES_MAX { Ok(()) } else { Err(CloseCode::ProtocolError) }
}

fn message(is_text: bool, bytes: Vec<u8>) -> Result<ReadEvent, CloseCode> {
    if !is_text {
        return Ok(ReadEvent::Message(Incoming::Binary(bytes.into())));
    }
    let text = String::from_utf8(bytes).map_err(|_| CloseCode::InvalidText)?;
    Ok(ReadEvent::Message(Incoming::Text(ByteString::from(text))))
}

/// Parses the payload of a close frame: nothing, or a code and a reason (5.5.1).
fn close(payload: &[u8]) -> Result<ReadEvent, CloseCode> {
    match payload {
        [] => Ok(ReadEvent::Close(None)),
        [a, b, reason @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            // The codes that a close frame may have (7.4).
            let is_allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if !is_allowed {
                return Err(CloseCode::ProtocolError);
            }
            str::from_utf8(reason).map_err(|_| CloseCode::InvalidText)?;
            Ok(ReadEvent::Close(Some(code)))
        }
        [_] => Err(CloseCode::ProtocolError),
    }
}

/// Appends the payload without its mask (5.3), eight bytes at a time.
fn unmask(payload: &[u8], [a, b, c, d]: [u8; 4], to: &mut Vec<u8>) {
    let start = to.len();
    to.extend_from_slice(payload);
    let mask = [a, b, c, d, a, b, c, d];
    let (eights, rest) = to[start..].as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ u64::from_ne_bytes(mask)).to_ne_bytes();
    }
    rest.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// Returns a client's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | u8::try_from(length).expect("it fits")),
            length @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).expect("it fits").to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        unmask(payload, MASK, &mut frame);
        frame
    }

    /// Returns the events for bytes that come in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> Vec<Result<ReadEvent, CloseCode>> {
        let (mut reader, mut events, mut waiting) = (Reader::new(1000), Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            waiting.extend_from_slice(piece);
            let mut input = &waiting[..];
            loop {
                match reader.next(&mut input) {
                    Ok(Some(next)) => events.push(Ok(next)),
                    Ok(None) => break,
                    Err(code) => {
                        events.push(Err(code));
                        return events;
                    }
                }
            }
            waiting = input.to_vec();
        }
        events
    }

    fn text(text: &str) -> Result<ReadEvent, CloseCode> {
        Ok(ReadEvent::Message(Incoming::Text(text.into())))
    }

    #[test]
    fn messages_are_read_in_pieces_of_any_size() {
        let long = "é".repeat(100);
        let frames = [
            frame(0x81, b"one"),
            frame(0x81, b""),
            frame(0x82, &[0, 255]),
            frame(0x01, &long.as_bytes()[..7]),
            frame(0x89, b"are you there?"),
            frame(0x00, &long.as_bytes()[7..50]),
            frame(0x8A, b""),
            frame(0x80, &long.as_bytes()[50..]),
            frame(0x81, long.as_bytes()),
            frame(0x88, b"\x03\xe8bye"),
        ];
        let expected = [
            text("one"),
            text(""),
            Ok(ReadEvent::Message(Incoming::Binary(Bytes::from_static(&[0, 255])))),
            Ok(ReadEvent::Ping(Bytes::from_static(b"are you there?"))),
            Ok(ReadEvent::Pong),
            text(&long),
            text(&long),
            Ok(ReadEvent::Close(Some(1000))),
        ];
        let bytes = frames.concat();
        for piece in [1, 2, 3, 7, 64, bytes.len()] {
            assert_eq!(read(&bytes, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn violations_are_found_before_the_payload_arrives() {
        let (broken, big) = (|| Err(CloseCode::ProtocolError), || Err(CloseCode::TooBig));
        let begun = frame(0x01, b"a");
        let cases: [(&str, Vec<u8>, Result<ReadEvent, CloseCode>); 14] = [
            ("no mask", vec![0x81, 1, b'a'], broken()),
            ("a reserved bit", frame(0xC1, b"a"), broken()),
            ("a reserved kind", frame(0x83, b"a"), broken()),
            ("a ping in two frames", frame(0x09, b"a"), broken()),
            ("a long ping", frame(0x89, &[0; 126])[..8].to_vec(), broken()),
            ("a continuation without a beginning", frame(0x80, b"a"), broken()),
            ("a message within another", [begun.clone(), frame(0x81, b"a")].concat(), broken()),
            ("too long", frame(0x81, &[b'a'; 1001])[..4].to_vec(), big()),
            ("far too long", vec![0x81, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0], big()),
            ("too long in all", [begun, frame(0x80, &[b'a'; 1000])].concat(), big()),
            ("text that isn't UTF-8", frame(0x81, &[0xC3]), Err(CloseCode::InvalidText)),
            ("half a code", frame(0x88, &[3]), broken()),
            ("a code that isn't for frames", frame(0x88, &[3, 0xED]), broken()),
            ("a reason that isn't UTF-8", frame(0x88, &[3, 0xE8, 0xC3]), Err(CloseCode::InvalidText)),
        ];
        for (what, bytes, expected) in cases {
            assert_eq!(read(&bytes, bytes.len()).pop(), Some(expected), "{what}");
        }
    }

    #[test]
    fn payloads_of_any_length_are_unmasked() {
        for length in 0..40 {
            let payload: Vec<u8> = (0..length).collect();
            let (mut masked, mut back) = (Vec::new(), vec![9]);
            unmask(&payload, MASK, &mut masked);
            unmask(&masked, MASK, &mut back);
            assert_eq!(back[1..], payload);
            assert!(masked.iter().zip(&payload).enumerate().all(|(at, (a, b))| a ^ b == MASK[at % 4]));
        }
    }
}
