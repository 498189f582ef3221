//! WebSocket frames (RFC 6455): written to the end of a buffer, and read in place.

use anyhow::{Result, ensure};

// Opcodes.
pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The masking key of clients. It is constant, because masking only protects against proxies, and there are none here. No
/// byte is zero, so that a server has to change every byte.
const KEY: [u8; 4] = [0x37, 0x5a, 0xc4, 0x91];

/// The bit of the first byte that marks the last frame of a message.
const LAST: u8 = 0x80;
/// The bit of the first byte that marks a compressed message.
const COMPRESSED: u8 = 0x40;
/// The other reserved bits of the first byte.
const RESERVED: u8 = 0x30;
/// The bit of the second byte that marks a masked payload.
const MASKED: u8 = 0x80;

/// The values of the length field which mean that the length is in the next two or eight bytes.
const IN_TWO_BYTES: u8 = 126;
const IN_EIGHT_BYTES: u8 = 127;

/// A frame in a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) is_compressed: bool,
    /// The positions at which the payload begins and ends. The next frame begins at the end.
    pub(crate) starts: usize,
    pub(crate) ends: usize,
    key: Option<[u8; 4]>,
}

impl Frame {
    /// Returns the frame at the beginning of the buffer, or `None` if it hasn't arrived completely.
    ///
    /// # Errors
    ///
    /// If the frame is a fragment of a message. No server or client here sends such frames.
    pub(crate) fn first(buffer: &[u8]) -> Result<Option<Self>> {
        let &[first, second, ..] = buffer else { return Ok(None) };
        ensure!(
            first & LAST != 0 && first & RESERVED == 0,
            "a frame is a fragment of a message, or has a reserved bit"
        );
        let short = second & !MASKED;
        let (length, mut starts) = match short {
            IN_TWO_BYTES => match buffer.get(2..4) {
                Some(bytes) => (number(bytes), 4),
                None => return Ok(None),
            },
            IN_EIGHT_BYTES => match buffer.get(2..10) {
                Some(bytes) => (number(bytes), 10),
                None => return Ok(None),
            },
            short => (usize::from(short), 2),
        };
        let mut key = None;
        if second & MASKED != 0 {
            let Some(&[a, b, c, d]) = buffer.get(starts..starts + 4) else { return Ok(None) };
            key = Some([a, b, c, d]);
            starts += 4;
        }
        let ends = starts.saturating_add(length);
        let is_compressed = first & COMPRESSED != 0;
        Ok((buffer.len() >= ends).then_some(Self { opcode: first & 0x0f, is_compressed, starts, ends, key }))
    }

    /// Removes the mask in place and returns the payload. It may be called only once for a frame.
    pub(crate) fn unmask<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        let payload = &mut buffer[self.starts..self.ends];
        if let Some(key) = self.key {
            mask(payload, key);
        }
        payload
    }
}

/// Writes a frame of a client.
pub(crate) fn write_masked(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    write_head(opcode, payload.len(), MASKED, into);
    into.extend_from_slice(&KEY);
    let starts = into.len();
    into.extend_from_slice(payload);
    mask(&mut into[starts..], KEY);
}

/// Writes a frame of a server.
pub(crate) fn write(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    write_head(opcode, payload.len(), 0, into);
    into.extend_from_slice(payload);
}

fn write_head(opcode: u8, length: usize, masked: u8, into: &mut Vec<u8>) {
    into.push(LAST | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length < IN_TWO_BYTES => into.push(masked | length),
        (_, Ok(length)) => {
            into.push(masked | IN_TWO_BYTES);
            into.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            into.push(masked | IN_EIGHT_BYTES);
            into.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

fn mask(payload: &mut [u8], key: [u8; 4]) {
    let mut words = payload.chunks_exact_mut(4);
    for word in &mut words {
        word.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    }
    words.into_remainder().iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
}

/// Reads a big-endian length. It saturates: such a frame is too long for any buffer, so it is never complete.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number: usize, byte| number.saturating_mul(256).saturating_add(usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(buffer: &[u8]) -> Option<Frame> {
        Frame::first(buffer).expect("the frame was refused")
    }

    fn whole(buffer: &[u8]) -> Frame {
        first(buffer).expect("the frame isn't complete")
    }

    #[test]
    fn frames_match_the_examples_of_rfc_6455() {
        let mut out = Vec::new();
        write(TEXT, b"Hello", &mut out);
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        // The example of section 5.7: "Hello" sent by a client.
        let mut hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let frame = whole(&hello);
        assert_eq!((frame.opcode, frame.ends), (TEXT, hello.len()));
        assert_eq!(frame.unmask(&mut hello), b"Hello");
    }

    #[test]
    fn payloads_of_every_length_are_written_and_read() {
        for length in [0, 1, 3, 4, 5, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            for writes in [write, write_masked] {
                let mut out = Vec::new();
                writes(TEXT, &payload, &mut out);
                let next_at = out.len();
                writes(PING, b"next", &mut out);
                let frame = whole(&out);
                assert_eq!((frame.opcode, frame.ends), (TEXT, next_at), "{length}");
                assert_eq!(frame.unmask(&mut out), payload, "{length}");
                let rest = &mut out[next_at..];
                let next = whole(rest);
                assert_eq!((next.opcode, next.unmask(rest)), (PING, b"next".as_slice()));
            }
        }
    }

    #[test]
    fn an_incomplete_frame_is_not_read() {
        for length in [5, 300, 70_000] {
            for writes in [write, write_masked] {
                let mut out = Vec::new();
                writes(TEXT, &vec![b'x'; length], &mut out);
                for part in (0..14).chain([out.len() - 1]) {
                    let part = part.min(out.len() - 1);
                    assert_eq!(first(&out[..part]), None, "{part} of {length}");
                }
            }
        }
    }

    #[test]
    fn fragments_and_reserved_bits_are_refused() {
        assert!(Frame::first(&[0x01, 0x00]).is_err(), "the first fragment of a message");
        assert!(Frame::first(&[0xa1, 0x00]).is_err(), "a reserved bit");
        assert!(whole(&[0xc1, 0x00]).is_compressed && !whole(&[0x81, 0x00]).is_compressed);
        assert_eq!(first(&[0x81, 0x7f, 255, 255, 255, 255, 255, 255, 255, 255]), None);
    }
}
