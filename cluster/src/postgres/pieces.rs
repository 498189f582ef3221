//! A flush as messages of `NOTIFY`, which are text of at most 7,999 bytes.
//!
//! The pieces of a flush are sent in one transaction, so nothing comes between them in the queue. A channel is open to every role of
//! the database. What isn't a piece, or comes out of order, is ignored.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bytes::Bytes;

use crate::bus::Lane;
use crate::node::Epoch;
use crate::pieces::{Assembler, FLUSH_BYTES_MAX, Place, Put};

/// The bytes of a flush in one piece. They are 7,800 characters.
const PIECE_BYTES: usize = 5_850;

/// The most pieces of a flush.
const PIECES_MAX: usize = FLUSH_BYTES_MAX.div_ceil(PIECE_BYTES);

/// The first word of a piece. Other words are other notifications.
const WORD: &str = "flush";

/// Cuts a flush into pieces. `number` is the sender's count of its flushes: it makes each text unique, because the server drops equal
/// ones of a transaction.
///
/// Returns nothing if the flush has more than [`FLUSH_BYTES_MAX`] bytes.
pub(super) fn cut(from: Epoch, number: u64, lane: Lane, flush: &[u8]) -> Option<Vec<String>> {
    if flush.len() > FLUSH_BYTES_MAX {
        return None;
    }
    let lane = match lane {
        Lane::All => "*".to_owned(),
        Lane::Node(epoch) => epoch.to_string(),
    };
    let count = flush.len().div_ceil(PIECE_BYTES).max(1);
    let pieces = (0..count).map(|at| {
        let rest = &flush[at * PIECE_BYTES..];
        let bytes = &rest[..rest.len().min(PIECE_BYTES)];
        let mut text = String::with_capacity(96 + bytes.len().div_ceil(3) * 4);
        // Writing to a string doesn't fail.
        let _ = write!(text, "{WORD} {from} {number} {at} {count} {lane} ");
        BASE64.encode_string(bytes, &mut text);
        text
    });
    Some(pieces.collect())
}

/// What a notification was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The last piece of a flush, which is whole now.
    Flush(Bytes),
    /// A piece of a flush with more pieces.
    Piece,
    /// A piece of a flush for another node.
    Elsewhere,
    /// No piece, or one that belongs to nothing.
    Ignored,
}

/// Puts the pieces of flushes on a channel together.
pub(super) struct PieceReader {
    me: Epoch,
    assembler: Assembler,
    /// The bytes of the last piece.
    bytes: Vec<u8>,
}

/// A piece as text.
struct Piece<'a> {
    place: Place,
    /// The only node that it is for.
    to: Option<Epoch>,
    text: &'a str,
}

impl PieceReader {
    /// `me` is the node that hears.
    pub(super) fn new(me: Epoch) -> Self {
        // The flushes of several senders don't mix in the queue.
        Self { me, assembler: Assembler::new(1), bytes: Vec::new() }
    }

    /// Takes the text of a notification.
    pub(super) fn read(&mut self, text: &str) -> Received {
        let Some(piece) = Piece::read(text) else { return Received::Ignored };
        if piece.to.is_some_and(|to| to != self.me) {
            return Received::Elsewhere;
        }
        self.bytes.clear();
        if BASE64.decode_vec(piece.text, &mut self.bytes).is_err() {
            return Received::Ignored;
        }
        match self.assembler.put(piece.place, &self.bytes) {
            Put::Flush(flush) => Received::Flush(flush),
            Put::Piece => Received::Piece,
            Put::Ignored => Received::Ignored,
        }
    }

    /// Forgets a flush that isn't whole, because the connection was lost.
    pub(super) fn clear(&mut self) {
        self.assembler.clear();
    }
}

impl<'a> Piece<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut words = text.splitn(7, ' ');
        if words.next()? != WORD {
            return None;
        }
        let mut number = || words.next()?.parse::<u64>().ok();
        let (from, number, at, count) = (Epoch(number()?), number()?, number()?, number()?);
        let (at, count) = (usize::try_from(at).ok()?, usize::try_from(count).ok()?);
        let to = match words.next()? {
            "*" => None,
            epoch => Some(Epoch(epoch.parse().ok()?)),
        };
        let text = words.next()?;
        (count <= PIECES_MAX).then_some(Self { place: Place { from, number, at, count }, to, text })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ME: Epoch = Epoch(7);

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
    }

    fn hear_all(pieces: &[String]) -> Vec<Received> {
        let mut reader = PieceReader::new(ME);
        pieces.iter().map(|piece| reader.read(piece)).collect()
    }

    #[test]
    fn a_flush_of_any_size_is_put_together_again() {
        for size in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 1 << 20] {
            let pieces = cut(Epoch(u64::MAX), u64::MAX, Lane::All, &bytes(size)).unwrap();
            assert!(pieces.iter().all(|piece| piece.len() <= 7_900), "{size}");
            let mut heard = hear_all(&pieces);
            assert_eq!(heard.pop(), Some(Received::Flush(bytes(size).into())), "{size}");
            assert!(heard.iter().all(|heard| *heard == Received::Piece), "{size}");
        }
    }

    #[test]
    fn the_longest_header_and_the_largest_flush_fit() {
        let lane = Lane::Node(Epoch(u64::MAX));
        let pieces = cut(Epoch(u64::MAX), u64::MAX, lane, &bytes(FLUSH_BYTES_MAX)).unwrap();
        assert!(pieces.iter().all(|piece| piece.len() <= 7_900));
        assert_eq!(pieces.len(), PIECES_MAX);
        assert!(cut(ME, 1, Lane::All, &bytes(FLUSH_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn a_flush_for_another_node_is_not_heard() {
        let mine = cut(Epoch(1), 1, Lane::Node(ME), b"mine").unwrap();
        let other = cut(Epoch(1), 2, Lane::Node(Epoch(8)), b"other").unwrap();
        assert_eq!(hear_all(&[other, mine].concat()), [Received::Elsewhere, Received::Flush("mine".into())]);
    }

    #[test]
    fn what_is_no_piece_changes_nothing() {
        let pieces = cut(Epoch(1), 1, Lane::All, &bytes(2 * PIECE_BYTES)).unwrap();
        let texts = [
            "",
            "hello",
            "nodes",
            "flush",
            "flush 1 1 0 1 *",
            "flush 1 1 0 0 * aGk",
            "flush 1 1 1 1 * aGk",
            "flush 1 1 0 1 me aGk",
            "flush -1 1 0 1 * aGk",
            "flush 1 1 0 1 * a b",
            "flush 1 1 0 1 * ä",
            "flush 1 1 0 18446744073709551615 * aGk",
            "flush 1 1 0 2869 * aGk",
        ];
        let mut reader = PieceReader::new(ME);
        assert_eq!(reader.read(&pieces[0]), Received::Piece);
        for text in texts {
            assert_eq!(reader.read(text), Received::Ignored, "{text:?}");
        }
        assert_eq!(reader.read(&pieces[1]), Received::Flush(bytes(2 * PIECE_BYTES).into()));
        assert_eq!(reader.read("flush 1 1 0 1 * aGk"), Received::Flush("hi".into()));
    }
}
