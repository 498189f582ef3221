//! Parses a client's bytes as WebSocket (RFC 6455): frames, masks, messages in several frames, and control frames.
//!
//! It does no I/O: bytes come in, and [`ReadEvent`]s come out. It keeps at most the beginning of one message, of limited
//! size. The bytes of an incomplete frame stay with the caller. If compression was negotiated, messages may be compressed
//! (RFC 7692).

use bytes::Bytes;
use bytestring::ByteString;

use super::inflate::{Inflating, Inflation};
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
    /// A compressed message comes next, and no work for it is left in this turn of the reactor.
    Postponed,
}

/// Parses the bytes of one client.
pub(super) struct Reader {
    /// The most bytes of a message.
    message_bytes_max: usize,
    /// The beginning of a message whose last frame hasn't come yet, or which isn't inflated yet. Boxed, because most
    /// connections don't have one.
    begun: Option<Box<PartialMessage>>,
    /// Whether messages may be compressed.
    deflates: bool,
    /// Whether the client broke the protocol, so that further bytes can't be parsed.
    is_broken: bool,
}

#[derive(Default)]
struct PartialMessage {
    is_text: bool,
    is_compressed: bool,
    bytes: Vec<u8>,
    /// The complete message, if it is only inflated in part. Then there is nothing in `bytes`.
    inflating: Option<Box<Inflating>>,
}

/// The header of a frame.
struct Header {
    is_last: bool,
    /// Whether this is the first frame of a compressed message.
    is_compressed: bool,
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

/// The bit of the first byte that marks the first frame of a compressed message (RSV1; RFC 7692, 6).
const COMPRESSED: u8 = 0x40;

/// The most bytes of the payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: usize = 125;

impl Reader {
    /// Creates a reader of messages with at most `message_bytes_max` bytes, inflated if they are compressed. `deflates`
    /// says whether they may be compressed.
    pub(super) fn new(message_bytes_max: usize, deflates: bool) -> Self {
        Self { message_bytes_max, begun: None, deflates, is_broken: false }
    }

    /// Whether compression was negotiated.
    pub(super) fn deflates(&self) -> bool {
        self.deflates
    }

    /// Whether a message is inflated in part. [`next`](Self::next) continues it, even without further input.
    pub(super) fn is_inflating(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.inflating.is_some())
    }

    /// Returns the next complete message or control frame, and removes its bytes from the front of `input`. Returns none if
    /// more bytes are needed.
    ///
    /// # Errors
    /// The code to close with, if the client breaks the protocol or a message is too large. All later bytes are discarded.
    pub(super) fn next(
        &mut self,
        input: &mut &[u8],
        inflation: &mut Inflation,
    ) -> Result<Option<ReadEvent>, CloseCode> {
        let next = self.read(input, inflation);
        self.is_broken |= next.is_err();
        next
    }

    fn read(&mut self, input: &mut &[u8], inflation: &mut Inflation) -> Result<Option<ReadEvent>, CloseCode> {
        if self.is_broken {
            *input = &[];
        }
        if let Some(inflating) = self.begun.as_mut().and_then(|begun| begun.inflating.take()) {
            self.begun = None;
            return self.inflate(inflating, inflation).map(Some);
        }
        loop {
            let Some(header) = self.header(input)? else { return Ok(None) };
            let end = header.bytes + header.payload;
            let Some((frame, rest)) = input.split_at_checked(end) else { return Ok(None) };
            if self.completes_compressed(&header) && inflation.is_used_up() {
                return Ok(Some(ReadEvent::Postponed));
            }
            let payload = &frame[header.bytes..];
            *input = rest;
            if let Some(event) = self.on_frame(&header, payload, inflation)? {
                return Ok(Some(event));
            }
        }
    }

    /// Whether this frame is the last one of a compressed message.
    fn completes_compressed(&self, header: &Header) -> bool {
        let has_begun = header.kind == Kind::Continuation && self.begun.as_ref().is_some_and(|it| it.is_compressed);
        header.is_last && (header.is_compressed || has_begun)
    }

    /// Inflates a compressed message, as far as there is work left for it.
    fn inflate(&mut self, mut inflating: Box<Inflating>, inflation: &mut Inflation) -> Result<ReadEvent, CloseCode> {
        let result = match inflation.go_on(&mut inflating, self.message_bytes_max) {
            Ok(true) => message(inflating.is_text, inflating.bytes().to_vec()),
            Ok(false) => {
                self.begun = Some(Box::new(PartialMessage { inflating: Some(inflating), ..PartialMessage::default() }));
                return Ok(ReadEvent::Postponed);
            }
            Err(code) => Err(code),
        };
        inflation.take_back(inflating);
        result
    }

    /// Parses the header of the next frame, and checks it before the payload has come. Returns none if more bytes are
    /// needed.
    fn header(&self, input: &[u8]) -> Result<Option<Header>, CloseCode> {
        let [first, second, ..] = *input else { return Ok(None) };
        let (is_last, is_compressed) = (first & 0x80 != 0, first & COMPRESSED != 0);
        let kind = Kind::of(first).ok_or(CloseCode::ProtocolError)?;
        if is_compressed && !(self.deflates && matches!(kind, Kind::Text | Kind::Binary)) {
            return Err(CloseCode::ProtocolError);
        }
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
        Ok(Some(Header { is_last, is_compressed, kind, mask, bytes: at + 4, payload }))
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

    fn on_frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        inflation: &mut Inflation,
    ) -> Result<Option<ReadEvent>, CloseCode> {
        let &Header { is_last, is_compressed, kind, mask, .. } = header;
        let unmasked = || {
            let mut bytes = Vec::with_capacity(payload.len());
            unmask(payload, mask, &mut bytes);
            bytes
        };
        match kind {
            Kind::Ping => Ok(Some(ReadEvent::Ping(unmasked().into()))),
            Kind::Pong => Ok(Some(ReadEvent::Pong)),
            Kind::Close => close(&unmasked()).map(Some),
            Kind::Text | Kind::Binary => {
                let is_text = kind == Kind::Text;
                if !is_last {
                    let begun = PartialMessage { is_text, is_compressed, bytes: unmasked(), inflating: None };
                    self.begun = Some(Box::new(begun));
                    return Ok(None);
                }
                if is_compressed {
                    let inflating = inflation.begin(is_text, |compressed| unmask(payload, mask, compressed));
                    return self.inflate(inflating, inflation).map(Some);
                }
                message(is_text, unmasked()).map(Some)
            }
            Kind::Continuation => {
                let Some(begun) = &mut self.begun else { return Err(CloseCode::ProtocolError) };
                unmask(payload, mask, &mut begun.bytes);
                if !is_last {
                    return Ok(None);
                }
                let Some(PartialMessage { is_text, is_compressed, bytes, .. }) = self.begun.take().map(|begun| *begun)
                else {
                    return Ok(None);
                };
                if is_compressed {
                    let inflating = inflation.begin(is_text, |compressed| *compressed = bytes);
                    return self.inflate(inflating, inflation).map(Some);
                }
                message(is_text, bytes).map(Some)
            }
        }
    }
}

impl Kind {
    /// Returns the kind in the first byte of a frame. None for reserved kinds, and for the reserved bits that no extension
    /// uses.
    fn of(first: u8) -> Option<Self> {
        match first & !COMPRESSED & 0x7f {
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
mod tests;
