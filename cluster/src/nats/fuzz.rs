//! A fuzz target: reads any bytes as messages on NATS.

use crate::pieces::{Assembler, FLUSH_BYTES_MAX, Put};

use super::frame::{Frame, PAYLOAD_BYTES_MIN, cut, mark, read};

/// Reads the bytes as messages, each after its length in one byte, and puts the pieces of flushes together. A mark that is read is
/// written the same, and a flush that is whole is cut and put together again. Returns whether there was a message.
///
/// # Panics
///
/// If one of these doesn't hold.
#[must_use]
pub fn fuzz_nats_message(bytes: &[u8]) -> bool {
    let (mut rest, mut assembler, mut is_read) = (bytes, Assembler::new(2), false);
    while let Some((length, after)) = rest.split_first() {
        let (message, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        match read(message) {
            Some(Frame::Mark(node, count)) => {
                assert_eq!(mark(node, count), message, "a mark is written as it was read")
            }
            Some(Frame::Piece(place, piece)) => {
                if let Put::Flush(flush) = assembler.put(place, piece) {
                    assert!(flush.len() <= FLUSH_BYTES_MAX, "a flush has a bound");
                    let messages =
                        cut(place.from, place.number, &flush, PAYLOAD_BYTES_MIN).expect("it isn't too large");
                    let (mut again, mut last) = (Assembler::new(1), Put::Ignored);
                    for message in &messages {
                        let Some(Frame::Piece(place, piece)) = read(message) else { panic!("a piece is read as one") };
                        last = again.put(place, piece);
                    }
                    assert_eq!(last, Put::Flush(flush), "a flush is put together as it was cut");
                }
            }
            None => continue,
        }
        is_read = true;
    }
    is_read
}
