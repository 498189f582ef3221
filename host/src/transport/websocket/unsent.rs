//! What a connection has taken from its outbox, and its stream has no room for.

use std::collections::VecDeque;
use std::time::Instant;

use crate::protocol::Frame;

/// Frames on their way, of which the first has perhaps been written in part.
pub(super) struct Unsent {
    first: Piece,
    /// Bytes of the first that were written.
    written: usize,
    /// The frames behind it.
    pub(super) behind: VecDeque<Frame>,
    /// When the client last took something.
    pub(super) since: Instant,
}

enum Piece {
    /// Several frames' bytes, put together.
    Bytes(Box<[u8]>),
    Frame(Frame),
}

impl Unsent {
    pub(super) fn of_bytes(bytes: &[u8], since: Instant) -> Self {
        Self { first: Piece::Bytes(bytes.into()), written: 0, behind: VecDeque::new(), since }
    }

    pub(super) fn of_frame(frame: Frame, written: usize, since: Instant) -> Self {
        Self { first: Piece::Frame(frame), written, behind: VecDeque::new(), since }
    }

    /// What is to be written next.
    pub(super) fn bytes(&self) -> &[u8] {
        let whole = match &self.first {
            Piece::Bytes(bytes) => bytes,
            Piece::Frame(frame) => frame.wire(),
        };
        &whole[self.written..]
    }

    /// So many more bytes were written. Whether something is left.
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
    fn all_is_written_in_order_however_little_is_taken_at_a_time() {
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
