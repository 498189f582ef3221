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

/// The most bytes of a flush: 16 MiB.
pub(super) const FLUSH_BYTES_MAX: usize = 16 << 20;

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
pub(super) enum Heard {
    /// The last piece of a flush, which is whole now.
    Flush(Bytes),
    /// A piece of a flush with more pieces.
    Piece,
    /// A piece of a flush for another node.
    Elsewhere,
    /// No piece, or one that belongs to nothing.
    Ignored,
}

/// Puts flushes together again. There is at most one that isn't whole.
#[derive(Default)]
pub(super) struct Assembler {
    open: Option<Open>,
}

struct Open {
    from: Epoch,
    number: u64,
    next: usize,
    count: usize,
    bytes: Vec<u8>,
}

struct Piece<'a> {
    from: Epoch,
    number: u64,
    at: usize,
    count: usize,
    to: Option<Epoch>,
    text: &'a str,
}

impl Assembler {
    /// Takes the text of a notification. `me` is the node that hears it.
    pub(super) fn hear(&mut self, me: Epoch, text: &str) -> Heard {
        let Some(piece) = Piece::read(text) else { return Heard::Ignored };
        if piece.to.is_some_and(|to| to != me) {
            return Heard::Elsewhere;
        }
        if piece.at == 0 {
            // One that was begun before can't be finished any more.
            let (from, number, count) = (piece.from, piece.number, piece.count);
            self.open = Some(Open { from, number, next: 0, count, bytes: Vec::new() });
        }
        let Some(open) = self.open.as_mut().filter(|open| open.expects(&piece)) else { return Heard::Ignored };
        let before = open.bytes.len();
        let is_read = BASE64.decode_vec(piece.text, &mut open.bytes).is_ok();
        let is_last = piece.at + 1 == piece.count;
        let size = open.bytes.len() - before;
        // Only the last one is smaller.
        if !is_read || size > PIECE_BYTES || (size < PIECE_BYTES && !is_last) {
            self.open = None;
            return Heard::Ignored;
        }
        open.next += 1;
        if !is_last {
            return Heard::Piece;
        }
        self.open.take().map_or(Heard::Ignored, |open| Heard::Flush(open.bytes.into()))
    }

    /// Forgets a flush that isn't whole, because the connection was lost.
    pub(super) fn clear(&mut self) {
        self.open = None;
    }
}

impl Open {
    fn expects(&self, piece: &Piece<'_>) -> bool {
        (self.from, self.number, self.next, self.count) == (piece.from, piece.number, piece.at, piece.count)
    }
}

impl<'a> Piece<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut words = text.splitn(7, ' ');
        if words.next()? != WORD {
            return None;
        }
        let mut number = || words.next()?.parse::<u64>().ok();
        let (from, of, at, count) = (Epoch(number()?), number()?, number()?, number()?);
        let (at, count) = (usize::try_from(at).ok()?, usize::try_from(count).ok()?);
        let to = match words.next()? {
            "*" => None,
            epoch => Some(Epoch(epoch.parse().ok()?)),
        };
        let is_possible = at < count && count <= PIECES_MAX;
        is_possible.then_some(Self { from, number: of, at, count, to, text: words.next()? })
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

    fn hear_all(assembler: &mut Assembler, pieces: &[String]) -> Vec<Heard> {
        pieces.iter().map(|piece| assembler.hear(ME, piece)).collect()
    }

    #[test]
    fn a_flush_of_any_size_is_put_together_again() {
        for size in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 1 << 20] {
            let pieces = cut(Epoch(u64::MAX), u64::MAX, Lane::All, &bytes(size)).unwrap();
            assert!(pieces.iter().all(|piece| piece.len() <= 7_900), "{size}");
            let mut heard = hear_all(&mut Assembler::default(), &pieces);
            assert_eq!(heard.pop(), Some(Heard::Flush(bytes(size).into())), "{size}");
            assert!(heard.iter().all(|heard| *heard == Heard::Piece), "{size}");
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
    fn a_flush_for_another_node_is_not_put_together() {
        let mine = cut(Epoch(1), 1, Lane::Node(ME), b"mine").unwrap();
        let other = cut(Epoch(1), 2, Lane::Node(Epoch(8)), b"other").unwrap();
        let mut assembler = Assembler::default();
        assert_eq!(hear_all(&mut assembler, &other), [Heard::Elsewhere]);
        assert_eq!(hear_all(&mut assembler, &mine), [Heard::Flush("mine".into())]);
    }

    #[test]
    fn pieces_out_of_order_make_no_flush() {
        let pieces = cut(Epoch(1), 1, Lane::All, &bytes(3 * PIECE_BYTES)).unwrap();
        let other = cut(Epoch(2), 1, Lane::All, &bytes(3 * PIECE_BYTES)).unwrap();
        for order in [
            vec![&pieces[1], &pieces[2]],
            vec![&pieces[0], &pieces[2]],
            vec![&pieces[0], &other[1], &other[2]],
            vec![&pieces[0], &pieces[0], &pieces[2]],
            vec![&pieces[0], &pieces[1], &other[0], &pieces[2]],
        ] {
            let mut assembler = Assembler::default();
            let heard: Vec<Heard> = order.iter().map(|piece| assembler.hear(ME, piece)).collect();
            assert!(!heard.iter().any(|heard| matches!(heard, Heard::Flush(_))), "{heard:?}");
        }
        // What isn't a piece changes nothing.
        let mut assembler = Assembler::default();
        let heard = [&pieces[0], &pieces[1], "hello", "roll", &pieces[2]].map(|text| assembler.hear(ME, text));
        assert!(matches!(heard[4], Heard::Flush(_)), "{heard:?}");
    }

    #[test]
    fn what_is_no_piece_is_ignored() {
        let long = BASE64.encode(bytes(PIECE_BYTES + 1));
        for text in [
            "",
            "flush",
            "flush 1 1 0 1 *",
            "flush 1 1 0 0 * aGk",
            "flush 1 1 1 1 * aGk",
            "flush 1 1 0 1 me aGk",
            "flush -1 1 0 1 * aGk",
            "flush 1 1 0 1 * a b",
            "flush 1 1 0 1 * ä",
            "flush 1 1 0 18446744073709551615 * aGk",
            "flush 1 1 0 2 * aGk",
            "flush 1 1 0 2869 * aGk",
            &format!("flush 1 1 0 1 * {long}"),
        ] {
            assert_eq!(Assembler::default().hear(ME, text), Heard::Ignored, "{text:?}");
        }
        assert_eq!(Assembler::default().hear(ME, "flush 1 1 0 1 * aGk"), Heard::Flush("hi".into()));
    }
}
