//! The messages on NATS: a piece of a flush, or a mark by which a node finds out that it hears.

use bytes::{BufMut, Bytes, BytesMut};

use crate::node::{Epoch, Incarnation, NodeId};
use crate::pieces::{FLUSH_BYTES_MAX, Place};

/// The kind of a piece.
const PIECE: u8 = 1;

/// The kind of a mark.
const MARK: u8 = 2;

/// The bytes before those of the flush: kind, epoch, number, index and count.
const HEADER_BYTES: usize = 1 + 8 + 8 + 4 + 4;

/// The least size of a message that a server has to take.
pub(super) const PAYLOAD_BYTES_MIN: usize = 4_096;

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A piece of a flush.
    Piece(Place, &'a [u8]),
    /// The mark of a node, with a count of its marks.
    Mark(NodeId, u64),
}

/// Cuts a flush into messages of at most `payload` bytes. Returns nothing if the flush has more than [`FLUSH_BYTES_MAX`] bytes.
pub(super) fn cut(from: Epoch, number: u64, flush: &Bytes, payload: usize) -> Option<Vec<Bytes>> {
    if flush.len() > FLUSH_BYTES_MAX {
        return None;
    }
    let size = payload.max(PAYLOAD_BYTES_MIN) - HEADER_BYTES;
    let count = flush.len().div_ceil(size).max(1);
    let of = u32::try_from(count).ok()?;
    let pieces = (0..of).map(|at| {
        let begin = at as usize * size;
        let bytes = &flush[begin..flush.len().min(begin + size)];
        let mut frame = BytesMut::with_capacity(HEADER_BYTES + bytes.len());
        frame.put_u8(PIECE);
        frame.put_u64(from.0);
        frame.put_u64(number);
        frame.put_u32(at);
        frame.put_u32(of);
        frame.put_slice(bytes);
        frame.freeze()
    });
    Some(pieces.collect())
}

/// The mark of a node.
pub(super) fn mark(node: NodeId, count: u64) -> Bytes {
    let mut frame = BytesMut::with_capacity(33);
    frame.put_u8(MARK);
    frame.put_u64(node.epoch.0);
    frame.put_slice(&node.incarnation.0);
    frame.put_u64(count);
    frame.freeze()
}

/// Reads a message. Returns nothing for what no node has sent.
pub(super) fn read(bytes: &[u8]) -> Option<Frame<'_>> {
    let (kind, rest) = bytes.split_first()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let epoch = Epoch(u64::from_be_bytes(*epoch));
    match *kind {
        PIECE => {
            let (number, rest) = rest.split_first_chunk::<8>()?;
            let (at, rest) = rest.split_first_chunk::<4>()?;
            let (count, rest) = rest.split_first_chunk::<4>()?;
            let index = |bytes: &[u8; 4]| usize::try_from(u32::from_be_bytes(*bytes)).ok();
            let number = u64::from_be_bytes(*number);
            Some(Frame::Piece(Place { from: epoch, number, at: index(at)?, count: index(count)? }, rest))
        }
        MARK => {
            let (incarnation, rest) = rest.split_first_chunk::<16>()?;
            let count = u64::from_be_bytes(rest.try_into().ok()?);
            Some(Frame::Mark(NodeId { epoch, incarnation: Incarnation(*incarnation) }, count))
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pieces::{Assembler, Put};

    #[test]
    fn a_flush_is_cut_for_what_the_server_takes() {
        for size in [0, 1, 4_071, 4_072, 100_000, FLUSH_BYTES_MAX] {
            let flush = Bytes::from(vec![7; size]);
            let frames = cut(Epoch(3), 9, &flush, 4_096).unwrap();
            assert!(frames.iter().all(|frame| frame.len() <= 4_096), "{size}");
            let mut assembler = Assembler::new(1);
            let mut last = None;
            for frame in &frames {
                let Some(Frame::Piece(place, bytes)) = read(frame) else { panic!("no piece") };
                assert_eq!((place.from, place.number), (Epoch(3), 9));
                last = Some(assembler.put(place, bytes));
            }
            assert_eq!(last, Some(Put::Flush(flush)), "{size}");
        }
        assert_eq!(cut(Epoch(1), 1, &vec![0; FLUSH_BYTES_MAX + 1].into(), 1 << 20), None);
    }

    #[test]
    fn a_mark_is_read_again_and_nothing_else_is_one() {
        let node = NodeId { epoch: Epoch(5), incarnation: Incarnation([9; 16]) };
        let frame = mark(node, 77);
        assert_eq!(read(&frame), Some(Frame::Mark(node, 77)));
        for cut in 0..frame.len() {
            assert_eq!(read(&frame[..cut]), None);
        }
        assert_eq!(read(&[&frame[..], b"x"].concat()), None);
        let piece = cut(Epoch(5), 1, &Bytes::new(), 4_096).unwrap().remove(0);
        for cut in 0..piece.len() {
            assert_eq!(read(&piece[..cut]), None);
        }
        assert_eq!(read(&[&[3][..], &frame[1..]].concat()), None);
    }
}
