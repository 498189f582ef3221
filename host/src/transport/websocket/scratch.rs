//! The buffers of a reactor, in which its connections read and write.

use std::collections::VecDeque;
use std::time::Instant;

use super::inflate::Inflation;
use crate::protocol::Frame;

/// The most bytes that are read at once.
const INPUT_BYTES: usize = 64 << 10;

/// Frames of at least this many bytes are written from their own memory. Shorter ones are copied together.
pub(super) const LONG: usize = 1 << 10;

/// Short frames are copied together until they have this many bytes. The last one may exceed it.
pub(super) const OUTPUT_BYTES: usize = 127 << 10;

/// Buffers and the time, which a reactor lends to the connection that it calls. So idle connections have no buffers.
pub(super) struct Scratch {
    /// The time of this turn.
    pub(super) now: Instant,
    /// Whether no messages of clients are handled, because the host stops or is being replaced.
    pub(super) is_paused: bool,
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    pub(super) frames: VecDeque<Frame>,
    pub(super) inflation: Inflation,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let (input, output) = (vec![0; INPUT_BYTES], Vec::with_capacity(OUTPUT_BYTES + LONG));
        Self {
            now: Instant::now(),
            is_paused: false,
            input,
            output,
            frames: VecDeque::new(),
            inflation: Inflation::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn put(&mut self, frame: Frame) {
        self.frames.push_back(frame);
    }

    /// Discards the frames that were about to be written.
    pub(super) fn clear(&mut self) {
        self.output.clear();
        self.frames.clear();
    }
}
