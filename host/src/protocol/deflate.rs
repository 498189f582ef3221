//! Compression of messages by permessage-deflate (RFC 7692) without context takeover: each message is compressed alone. So
//! all clients that negotiated the extension get the same bytes.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::{Compress, Compression, FlushCompress, Status};

use super::Frame;
use super::frame::{DEFLATED, HEADER_BYTES_MAX};

/// The level of the compression. With zlib-rs, level 1 uses only the fixed Huffman code: a message takes 0.6 times as long,
/// and becomes 1.4 times as large.
const LEVEL: u32 = 2;

/// A compressed message without context takeover ends with these bytes, which aren't sent (RFC 7692, 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The largest capacity that a thread's buffer keeps between two messages.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// The counts of this process. The compressor of a thread isn't part of any host, so these aren't either.
static COUNTS: [AtomicU64; Count::ALL.len()] = [const { AtomicU64::new(0) }; Count::ALL.len()];

thread_local! {
    /// The compressor of a thread. It has about 300 KiB of memory, so a thread that compresses nothing has none.
    static COMPRESSOR: Cell<Option<Box<Compressor>>> = const { Cell::new(None) };
}

/// A figure about compression, since the start of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Messages that were compressed. A broadcast is one message.
    Messages,
    /// Messages that were compressed, and then sent uncompressed because they became hardly smaller.
    Kept,
    /// Bytes of the compressed messages, before their compression.
    BytesBefore,
    /// Bytes of the compressed messages, after their compression.
    BytesAfter,
    /// Bytes that were not sent because of the compression. If a message has several receivers, each of them counts.
    BytesSaved,
    /// Compressed messages from clients.
    Inflated,
    /// Bytes of the compressed messages from clients, as they were received.
    InflatedBytesBefore,
    /// Bytes of the compressed messages from clients, after they were inflated.
    InflatedBytesAfter,
}

impl Count {
    /// All figures, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::Messages,
        Self::Kept,
        Self::BytesBefore,
        Self::BytesAfter,
        Self::BytesSaved,
        Self::Inflated,
        Self::InflatedBytesBefore,
        Self::InflatedBytesAfter,
    ];

    /// Returns the figure.
    #[must_use]
    pub fn get(self) -> u64 {
        // Relaxed, here and below, because nothing else depends on a figure.
        COUNTS[self as usize].load(Ordering::Relaxed)
    }

    /// Adds to the figure.
    pub fn add(self, more: usize) {
        COUNTS[self as usize].fetch_add(more as u64, Ordering::Relaxed);
    }
}

struct Compressor {
    compress: Compress,
    /// The buffer for a compressed message, with space for the header.
    buffer: Vec<u8>,
}

impl Frame {
    /// A frame for several clients isn't compressed if it has fewer bytes. The compression of a short frame takes 10 µs.
    pub const SHARED_BYTES_MIN: usize = 256;

    /// A frame for one client isn't compressed if it has fewer bytes.
    pub const OWN_BYTES_MIN: usize = 1 << 10;

    /// A longer frame isn't compressed by the thread that makes it: that might take longer than a millisecond.
    pub const AT_ONCE_BYTES_MAX: usize = 128 << 10;

    /// Returns the frame with a compressed message, if the frame has at least `least` bytes and at most
    /// [`AT_ONCE_BYTES_MAX`](Self::AT_ONCE_BYTES_MAX), and becomes smaller by an eighth or more.
    #[must_use]
    pub fn deflated_at_once(&self, least: usize) -> Option<Self> {
        (least..=Self::AT_ONCE_BYTES_MAX).contains(&self.len()).then(|| self.deflated()).flatten()
    }

    /// Returns the frame with a compressed message, if it becomes smaller by an eighth or more.
    #[must_use]
    pub fn deflated(&self) -> Option<Self> {
        let mut compressor = COMPRESSOR.take().unwrap_or_else(Compressor::new);
        let deflated = compressor.deflate(self);
        COMPRESSOR.set(Some(compressor));
        match &deflated {
            Some(deflated) => {
                Count::Messages.add(1);
                Count::BytesBefore.add(self.len());
                Count::BytesAfter.add(deflated.len());
            }
            None => Count::Kept.add(1),
        }
        deflated
    }

    /// Whether the frame is not compressed, and so large that another thread has to compress it.
    #[must_use]
    pub fn is_large_and_plain(&self) -> bool {
        self.len() > Self::AT_ONCE_BYTES_MAX && self.wire()[0] & DEFLATED == 0
    }
}

impl Compressor {
    fn new() -> Box<Self> {
        Box::new(Self { compress: Compress::new(Compression::new(LEVEL), false), buffer: Vec::new() })
    }

    fn deflate(&mut self, frame: &Frame) -> Option<Frame> {
        let Self { compress, buffer } = self;
        let message = frame.message();
        // One byte more than the largest useful result, because a full buffer may mean that bytes are missing.
        let most = message.len() - message.len() / 8 + TAIL.len() + 1;
        compress.reset();
        buffer.clear();
        buffer.resize(HEADER_BYTES_MAX, 0);
        buffer.reserve_exact(most);
        let status = compress.compress_vec(message, buffer, FlushCompress::Sync);
        let is_whole = matches!(status, Ok(Status::Ok)) && compress.total_in() == message.len() as u64;
        let length = buffer.len() - HEADER_BYTES_MAX;
        let is_worth_it = is_whole && length < most && buffer.ends_with(&TAIL);
        let deflated = is_worth_it.then(|| {
            buffer.truncate(buffer.len() - TAIL.len());
            frame.with_deflated(buffer)
        });
        buffer.clear();
        buffer.shrink_to(BUFFER_BYTES_MAX);
        deflated
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;

    fn inflated(frame: &Frame) -> Vec<u8> {
        let mut message = frame.message().to_vec();
        message.extend_from_slice(&TAIL);
        let mut inflated = Vec::with_capacity(4 << 20);
        let status = Decompress::new(false).decompress_vec(&message, &mut inflated, FlushDecompress::Sync);
        assert!(matches!(status, Ok(Status::Ok)), "{status:?}");
        inflated
    }

    fn text(bytes: usize) -> String {
        (0..).map(|n| format!("{{\"user\":{n}}},")).flat_map(String::into_bytes).take(bytes).map(char::from).collect()
    }

    #[test]
    fn a_compressed_frame_has_the_message_and_the_bit() {
        for bytes in [1, 20, 125, 126, 2_000, 70_000, 1 << 20] {
            let text = text(bytes);
            for (frame, first) in [(Frame::text(&text), 0xc1), (Frame::binary(&[text.as_bytes()]), 0xc2)] {
                let Some(deflated) = frame.deflated() else {
                    assert!(bytes < 126, "{bytes} bytes are hardly compressed");
                    continue;
                };
                assert_eq!(deflated.wire()[0], first);
                assert!(deflated.message().len() <= bytes * 7 / 8 + 1, "{} of {bytes}", deflated.message().len());
                assert!(inflated(&deflated) == text.as_bytes(), "{bytes}");
                assert_eq!(deflated.as_text(), None, "its text isn't in the frame");
                // The next message doesn't depend on the one before.
                assert_eq!(frame.deflated(), Some(deflated));
            }
        }
    }

    #[test]
    fn a_message_that_hardly_becomes_smaller_stays_as_it_is() {
        let mut noise = bennu_test_tiers::Noise::new(1);
        for bytes in [0, 1, 7, 8, 100, 1_000, 100_000, 300_000] {
            let random: Vec<u8> = (0..bytes).map(|_| noise.below(256) as u8).collect();
            assert_eq!(Frame::binary(&[&random]).deflated(), None, "{bytes} bytes");
        }
    }

    #[test]
    fn the_size_decides_whether_a_frame_is_compressed_at_once() {
        let is_compressed = |bytes: usize| {
            let frame = Frame::text(&text(bytes));
            (frame.deflated_at_once(Frame::SHARED_BYTES_MIN).is_some(), frame.is_large_and_plain())
        };
        assert_eq!(is_compressed(251), (false, false));
        assert_eq!(is_compressed(252), (true, false));
        assert_eq!(is_compressed(Frame::AT_ONCE_BYTES_MAX - 10), (true, false));
        assert_eq!(is_compressed(Frame::AT_ONCE_BYTES_MAX - 9), (false, true));
        let large = Frame::text(&text(4 << 20)).deflated().expect("it becomes smaller");
        assert!(large.len() > Frame::AT_ONCE_BYTES_MAX && !large.is_large_and_plain());
    }
}
