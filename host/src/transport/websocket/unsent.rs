//! The frames that a connection has taken from its outbox, and that its stream has no room for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::large_frames::LargeFrame;
use crate::protocol::Frame;

/// Frames that aren't written yet. The first piece may be written in part.
pub(super) struct Unsent {
    first: Piece,
    /// The number of bytes of the first piece that are written.
    written: usize,
    /// The frames after the first piece.
    pub(super) behind: VecDeque<Frame>,
    /// When the stream last took any bytes.
    pub(super) since: Instant,
}

enum Piece {
    /// The bytes of several short frames together.
    Bytes(Box<[u8]>),
    Frame(Frame),
    /// A frame that is being compressed. Its place among the frames `behind` is the number. Nothing is written before it is
    /// compressed.
    Large(Arc<LargeFrame>, usize),
}

impl Unsent {
    pub(super) fn of_bytes(bytes: &[u8], since: Instant) -> Self {
        Self { first: Piece::Bytes(bytes.into()), written: 0, behind: VecDeque::new(), since }
    }

    pub(super) fn of_frame(frame: Frame, written: usize, since: Instant) -> Self {
        Self { first: Piece::Frame(frame), written, behind: VecDeque::new(), since }
    }

    /// Keeps frames until one of them, at this place among the others, is compressed.
    pub(super) fn of_large(frame: Arc<LargeFrame>, place: usize, others: VecDeque<Frame>, since: Instant) -> Self {
        Self { first: Piece::Large(frame, place), written: 0, behind: others, since }
    }

    /// Whether there are bytes to write. Otherwise a frame is still being compressed.
    pub(super) fn is_ready(&mut self, now: Instant) -> bool {
        let Piece::Large(frame, place) = &self.first else { return true };
        let Some(result) = frame.result() else { return false };
        self.behind.insert(*place, result);
        // Until now the client couldn't take any bytes.
        self.since = now;
        if let Some(first) = self.behind.pop_front() {
            self.first = Piece::Frame(first);
        }
        true
    }

    /// Returns the bytes to write next.
    pub(super) fn bytes(&self) -> &[u8] {
        let whole = match &self.first {
            Piece::Bytes(bytes) => bytes,
            Piece::Frame(frame) => frame.wire(),
            Piece::Large(..) => &[],
        };
        &whole[self.written..]
    }

    /// Records that this many more bytes were written. Returns whether any are left.
    pub(super) fn advance(&mut self, bytes: usize, now: Instant) -> bool {
        self.since = now;
        self.written += bytes;
        if !self.bytes().is_empty() {
            return true;
        }
        let Some(next) = self.behind.pop_front() else { return false };
        self.first = Piece::Frame(next);
        self.written = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_frames_are_written_in_order_in_pieces_of_any_size() {
        let (frames, now) = (["one", "two", "three"].map(Frame::text), Instant::now());
        let all: Vec<u8> = frames.iter().flat_map(|frame| frame.wire().to_vec()).collect();
        for size in 1..=all.len() {
            let [one, two, three] = frames.clone();
            let mut unsent = Unsent::of_frame(one, 0, now);
            unsent.behind = [two, three].into();
            let mut written = Vec::new();
            loop {
                let taken = &unsent.bytes()[..size.min(unsent.bytes().len())];
                written.extend_from_slice(taken);
                if !unsent.advance(taken.len(), now) {
                    break;
                }
            }
            assert_eq!(written, all, "{size} at a time");
        }
    }
}
