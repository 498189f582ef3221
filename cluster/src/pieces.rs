//! Flushes that are larger than what a service takes as one message: they are sent in pieces, and put together again.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::node::Epoch;

/// The most bytes of a flush: 16 MiB.
pub(crate) const FLUSH_BYTES_MAX: usize = 16 << 20;

/// Where a piece belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Who has sent it.
    pub(crate) from: Epoch,
    /// The sender's count of its flushes.
    pub(crate) number: u64,
    /// Which piece of the flush this is, from 0.
    pub(crate) at: usize,
    /// How many there are.
    pub(crate) count: usize,
}

/// What a piece was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// The last one of a flush, which is whole now.
    Flush(Bytes),
    /// One of a flush that isn't whole yet.
    Piece,
    /// It belongs to nothing that was begun, or makes the flush too large.
    Ignored,
}

/// Puts flushes together again. Each sender sends the pieces of one flush after the other.
pub(crate) struct Assembler {
    /// The flushes that aren't whole, by sender.
    open: BTreeMap<Epoch, Open>,
    open_max: usize,
}

struct Open {
    number: u64,
    next: usize,
    count: usize,
    bytes: Vec<u8>,
}

impl Assembler {
    /// An assembler for the flushes of so many senders at the same time. Another one takes the place of the lowest epoch.
    pub(crate) fn new(open_max: usize) -> Self {
        Self { open: BTreeMap::new(), open_max }
    }

    /// Takes a piece.
    pub(crate) fn put(&mut self, place: Place, bytes: &[u8]) -> Put {
        let Place { from, number, at, count } = place;
        if at >= count {
            return Put::Ignored;
        }
        if at == 0 {
            // One that was begun before can't be finished any more.
            self.open.remove(&from);
            if count == 1 {
                return if bytes.len() <= FLUSH_BYTES_MAX {
                    Put::Flush(Bytes::copy_from_slice(bytes))
                } else {
                    Put::Ignored
                };
            }
            if self.open.len() >= self.open_max {
                self.open.pop_first();
            }
            self.open.insert(from, Open { number, next: 0, count, bytes: Vec::new() });
        }
        let Some(open) = self.open.get_mut(&from) else { return Put::Ignored };
        let is_next = (open.number, open.next, open.count) == (number, at, count);
        if !is_next || open.bytes.len() + bytes.len() > FLUSH_BYTES_MAX {
            return Put::Ignored;
        }
        open.bytes.extend_from_slice(bytes);
        open.next += 1;
        if open.next < open.count {
            return Put::Piece;
        }
        self.open.remove(&from).map_or(Put::Ignored, |open| Put::Flush(open.bytes.into()))
    }

    /// Forgets what isn't whole, because pieces were missed.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(from: u64, number: u64, at: usize, count: usize) -> Place {
        Place { from: Epoch(from), number, at, count }
    }

    #[test]
    fn the_pieces_of_several_senders_are_put_together() {
        let mut assembler = Assembler::new(2);
        assert_eq!(assembler.put(place(1, 7, 0, 2), b"he"), Put::Piece);
        assert_eq!(assembler.put(place(2, 1, 0, 3), b"wo"), Put::Piece);
        assert_eq!(assembler.put(place(3, 1, 0, 1), b"alone"), Put::Flush("alone".into()));
        assert_eq!(assembler.put(place(1, 7, 1, 2), b"llo"), Put::Flush("hello".into()));
        assert_eq!(assembler.put(place(2, 1, 1, 3), b""), Put::Piece);
        assert_eq!(assembler.put(place(2, 1, 2, 3), b"rld"), Put::Flush("world".into()));
        assert_eq!(assembler.put(place(2, 1, 2, 3), b"rld"), Put::Ignored);
    }

    #[test]
    fn pieces_out_of_order_make_no_flush() {
        for order in
            [vec![(1, 1), (1, 2)], vec![(1, 0), (1, 2)], vec![(1, 0), (2, 1), (2, 2)], vec![(1, 0), (1, 0), (1, 2)]]
        {
            let mut assembler = Assembler::new(4);
            let last = order.iter().map(|(number, at)| assembler.put(place(1, *number, *at, 3), b"x")).last();
            assert_eq!(last, Some(Put::Ignored), "{order:?}");
        }
        let mut assembler = Assembler::new(4);
        assert_eq!(assembler.put(place(1, 1, 0, 0), b"x"), Put::Ignored);
        assert_eq!(assembler.put(place(1, 1, 1, 1), b"x"), Put::Ignored);
        // The number of pieces can't change.
        assert_eq!(assembler.put(place(1, 1, 0, 3), b"x"), Put::Piece);
        assert_eq!(assembler.put(place(1, 1, 1, 2), b"x"), Put::Ignored);
        assembler.clear();
        assert_eq!(assembler.put(place(1, 1, 1, 3), b"x"), Put::Ignored);
    }

    #[test]
    fn what_waits_has_a_bound() {
        let mut assembler = Assembler::new(2);
        for from in 1..=1_000 {
            assert_eq!(assembler.put(place(from, 1, 0, 2), b"x"), Put::Piece);
        }
        assert_eq!(assembler.open.len(), 2);
        assert_eq!(assembler.put(place(1_000, 1, 1, 2), b"y"), Put::Flush("xy".into()));
        let large = vec![0; FLUSH_BYTES_MAX];
        assert_eq!(assembler.put(place(5, 1, 0, 3), &large), Put::Piece);
        assert_eq!(assembler.put(place(5, 1, 1, 3), b"x"), Put::Ignored);
        assert_eq!(assembler.put(place(5, 1, 1, 3), b""), Put::Piece);
        assert_eq!(assembler.put(place(6, 1, 0, 1), &vec![0; FLUSH_BYTES_MAX + 1]), Put::Ignored);
        assert!(assembler.open.values().all(|open| open.bytes.len() <= FLUSH_BYTES_MAX));
    }
}
