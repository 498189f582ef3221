//! Inflates the compressed messages of clients (RFC 7692) in limited memory and limited time.
//!
//! A few bytes can become thousands of times as many, and even bytes that become nothing take time. So a reactor has an
//! amount of work for each of its turns, which all its connections share. A message for which the amount is too small is
//! continued in the next turn, before any other compressed message. Clients that send uncompressed messages don't wait.

use flate2::{Decompress, FlushDecompress, Status};

use crate::protocol::{CloseCode, DeflateCount};

/// The work of a turn. Its unit is the time for one inflated byte, up to 3 ns. So this is less than a millisecond.
const WORK_A_TURN: usize = 256 << 10;

/// The work for one compressed byte, in addition to the bytes that it becomes. In the worst case (blocks with Huffman codes,
/// and no content) it takes 85 ns.
const WORK_A_COMPRESSED_BYTE: usize = 16;

/// The most compressed and inflated bytes of a step. The remaining work is checked after each step.
const STEP_BYTES: usize = 4 << 10;
const STEP_OUTPUT_BYTES: usize = 16 << 10;

/// The least room for the inflated bytes of a step.
const ROOM_BYTES_MIN: usize = 1 << 10;

/// Room for inflated bytes.
static ROOM: [u8; STEP_OUTPUT_BYTES] = [0; STEP_OUTPUT_BYTES];

/// The largest capacity that a buffer keeps between two messages.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// The client leaves out the last four bytes of its last block (RFC 7692, 7.2.1): these are the first four here. The rest is
/// an empty final block. If the decompressor reaches its end, the message was complete.
const TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// What a reactor has for compressed messages, and lends to the connection that it calls.
#[derive(Default)]
pub(super) struct Inflation {
    /// The work that is left in this turn.
    left: usize,
    /// Memory for one message: about 50 KiB. It is allocated with the first compressed message. A message that is continued
    /// in the next turn keeps it.
    spare: Option<Box<Inflating>>,
}

/// A compressed message that is being inflated.
pub(super) struct Inflating {
    pub(super) is_text: bool,
    decompress: Decompress,
    /// The compressed bytes, and the tail once it has begun.
    compressed: Vec<u8>,
    /// How many of the compressed bytes are inflated.
    at: usize,
    output: Vec<u8>,
}

impl Inflation {
    /// Begins a turn of the reactor.
    pub(super) fn begin_turn(&mut self) {
        self.left = WORK_A_TURN;
    }

    /// Whether no work is left in this turn.
    pub(super) fn is_used_up(&self) -> bool {
        self.left == 0
    }

    /// Begins a message. `fill` appends its compressed bytes to the buffer.
    pub(super) fn begin(&mut self, is_text: bool, fill: impl FnOnce(&mut Vec<u8>)) -> Box<Inflating> {
        let mut inflating = self.spare.take().unwrap_or_else(|| Box::new(Inflating::new()));
        inflating.is_text = is_text;
        inflating.decompress.reset(false);
        inflating.at = 0;
        fill(&mut inflating.compressed);
        inflating.compressed.extend_from_slice(&TAIL);
        inflating
    }

    /// Continues a message. Returns whether it is complete. If it isn't, no work is left in this turn.
    ///
    /// # Errors
    /// The code to close with, if the message has more than `most` bytes, or isn't compressed correctly.
    pub(super) fn go_on(&mut self, inflating: &mut Inflating, most: usize) -> Result<bool, CloseCode> {
        inflating.go_on(&mut self.left, most)
    }

    /// Takes the memory of a message back.
    pub(super) fn take_back(&mut self, mut inflating: Box<Inflating>) {
        for buffer in [&mut inflating.compressed, &mut inflating.output] {
            buffer.clear();
            buffer.shrink_to(BUFFER_BYTES_MAX);
        }
        self.spare = Some(inflating);
    }
}

impl Inflating {
    fn new() -> Self {
        let (compressed, output) = (Vec::new(), Vec::new());
        Self { is_text: false, decompress: Decompress::new(false), compressed, at: 0, output }
    }

    /// Returns the bytes that are inflated so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.output
    }

    fn go_on(&mut self, left: &mut usize, most: usize) -> Result<bool, CloseCode> {
        let message_end = self.compressed.len() - TAIL.len();
        loop {
            if *left == 0 {
                return Ok(false);
            }
            let (status, taken, made) = self.step(most)?;
            let work = made.saturating_add(taken.saturating_mul(WORK_A_COMPRESSED_BYTE));
            *left = left.saturating_sub(work);
            if self.output.len() > most {
                return Err(CloseCode::TooBig);
            }
            if status == Status::StreamEnd {
                // A client may mark its last block as final (7.2.3.4). Bytes behind it are more blocks.
                if self.at == self.compressed.len() || self.at == message_end {
                    break;
                }
                if self.at > message_end {
                    return Err(CloseCode::ProtocolError);
                }
                self.decompress.reset(false);
            } else if taken == 0 && made == 0 {
                // It needs more bytes, so the message isn't complete.
                return Err(CloseCode::ProtocolError);
            }
        }
        DeflateCount::Inflated.add(1);
        DeflateCount::InflatedBytesBefore.add(message_end);
        DeflateCount::InflatedBytesAfter.add(self.output.len());
        Ok(true)
    }

    /// Inflates a part. Returns how many bytes it has taken and made.
    fn step(&mut self, most: usize) -> Result<(Status, usize, usize), CloseCode> {
        let Self { decompress, compressed, at, output, .. } = self;
        let input = &compressed[*at..compressed.len().min(*at + STEP_BYTES)];
        let length = output.len();
        // One byte more than allowed shows that the message is too large. The room is cleared first, so there isn't much of it
        // for a short message.
        let allowed = most.saturating_add(1).saturating_sub(length);
        let room = (4 * input.len()).clamp(ROOM_BYTES_MIN, STEP_OUTPUT_BYTES).min(allowed);
        if output.capacity() - length < room {
            // Twice as much as before, but not more than a message may have.
            output.reserve_exact(length.max(room).min(allowed));
        }
        output.extend_from_slice(&ROOM[..room]);
        let (taken, made) = (decompress.total_in(), decompress.total_out());
        let status = decompress.decompress(input, &mut output[length..], FlushDecompress::None);
        let (taken, made) = (decompress.total_in() - taken, decompress.total_out() - made);
        // Neither is more than the lengths of the slices.
        let (taken, made) = (taken as usize, made as usize);
        output.truncate(length + made);
        *at += taken;
        Ok((status.map_err(|_| CloseCode::ProtocolError)?, taken, made))
    }
}

#[cfg(test)]
mod tests {
    use bennu_test_tiers::Noise;
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    const MIB: usize = 1 << 20;

    /// Compresses a message as a client does.
    fn deflated(message: &[u8]) -> Vec<u8> {
        if message.is_empty() {
            return vec![0];
        }
        let mut compress = Compress::new(Compression::best(), false);
        let mut out = Vec::with_capacity(message.len() * 9 / 8 + 100);
        compress.compress_vec(message, &mut out, FlushCompress::Sync).expect("it has room");
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }

    /// Inflates a message in as many turns as it takes. Returns it with the number of turns.
    fn inflate(inflation: &mut Inflation, compressed: &[u8], most: usize) -> (Result<Vec<u8>, CloseCode>, usize) {
        let mut inflating = inflation.begin(true, |to| to.extend_from_slice(compressed));
        for turn in 1.. {
            inflation.begin_turn();
            let result = inflation.go_on(&mut inflating, most);
            if result != Ok(false) {
                let result = result.map(|_| inflating.bytes().to_vec());
                inflation.take_back(inflating);
                return (result, turn);
            }
            assert!(inflation.is_used_up());
        }
        unreachable!("a message ends")
    }

    fn whole(compressed: &[u8]) -> Result<Vec<u8>, CloseCode> {
        inflate(&mut Inflation::default(), compressed, MIB).0
    }

    #[test]
    fn the_examples_of_the_rfc_are_inflated() {
        let hello = Ok(b"Hello".to_vec());
        // RFC 7692, 7.2.3.1 to 7.2.3.5.
        assert_eq!(whole(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]), hello);
        assert_eq!(whole(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]), hello);
        assert_eq!(whole(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]), hello);
        let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(whole(&two_blocks), hello);
        // 7.2.3.2: a second message that refers to the first one. The host has forbidden it.
        assert_eq!(whole(&[0xf2, 0x00, 0x11, 0x00, 0x00]), Err(CloseCode::ProtocolError));
        // 7.2.3.6: an empty message. A payload without any bytes has no block.
        assert_eq!((whole(&[0x00]), whole(&[])), (Ok(vec![]), Err(CloseCode::ProtocolError)));
    }

    #[test]
    fn final_blocks_are_read() {
        let hello = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(whole(&hello), Ok(b"Hello".to_vec()), "nothing follows");
        assert_eq!(whole(&[hello, hello].concat()), Ok(b"HelloHello".to_vec()));
        assert_eq!(whole(&[&hello[..], &deflated(b", world")].concat()), Ok(b"Hello, world".to_vec()));
        assert_eq!(whole(&[&hello[..], &[0x06]].concat()), Err(CloseCode::ProtocolError), "an invalid block");
    }

    #[test]
    fn messages_of_any_size_are_inflated_with_the_same_memory() {
        let mut inflation = Inflation::default();
        let mut noise = Noise::new(4);
        for bytes in [0, 1, 2, 100, 4_096, 16_384, 16_385, 65_536, 300_000] {
            for kinds in [1, 3, 256] {
                let message: Vec<u8> = (0..bytes).map(|_| noise.below(kinds) as u8).collect();
                let (inflated, turns) = inflate(&mut inflation, &deflated(&message), MIB);
                assert!(inflated == Ok(message), "{bytes} bytes of {kinds} kinds");
                assert!(turns > bytes / (WORK_A_TURN + STEP_OUTPUT_BYTES), "{bytes} bytes in {turns} turns");
            }
        }
        let spare = inflation.spare.expect("it is taken back");
        assert!(spare.output.capacity() <= BUFFER_BYTES_MAX && spare.compressed.capacity() <= BUFFER_BYTES_MAX);
    }

    #[test]
    fn a_message_may_have_as_many_bytes_as_allowed() {
        for most in [1, 1_000, 16_384, 100_000] {
            let at = |bytes| inflate(&mut Inflation::default(), &deflated(&vec![b'a'; bytes]), most).0;
            assert_eq!(at(most).map(|bytes| bytes.len()), Ok(most));
            assert_eq!(at(most + 1), Err(CloseCode::TooBig), "one more than {most}");
        }
    }

    #[test]
    fn a_bomb_is_closed_before_it_is_in_memory() {
        let bomb = deflated(&vec![0; 64 * MIB]);
        assert!(bomb.len() < MIB);
        let mut result = Ok(vec![]);
        let memory = allocation_counter::measure(|| result = inflate(&mut Inflation::default(), &bomb, MIB).0);
        assert_eq!(result, Err(CloseCode::TooBig));
        // The bomb's own bytes while the tail is appended, the decompressor, and the buffer while it grows for the last time.
        let most = (3 * bomb.len() + (64 << 10) + 2 * MIB) as u64;
        assert!(memory.bytes_max < most, "{} bytes, the bound is {most}", memory.bytes_max);
    }

    /// Bits of a deflate stream, the least significant one of each byte first.
    #[derive(Default)]
    struct Bits(Vec<u8>, u32);

    impl Bits {
        fn put(&mut self, value: u32, bits: u32) {
            for bit in 0..bits {
                if self.1.is_multiple_of(8) {
                    self.0.push(0);
                }
                if let Some(last) = self.0.last_mut() {
                    *last |= ((value >> bit & 1) as u8) << (self.1 % 8);
                }
                self.1 += 1;
            }
        }

        /// A block with Huffman codes of its own and no content: the most work for its size.
        fn put_empty_block(&mut self) {
            self.put(0b100, 3);
            // 257 literals, one distance, 18 lengths of codes.
            self.put(14 << 10, 14);
            for length in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1] {
                self.put(u32::from(length == 18 || length == 1), 3);
            }
            // 256 literals without a code, the end of the block, one distance.
            for (value, bits) in [(1, 1), (138 - 11, 7), (1, 1), (118 - 11, 7), (0, 1), (0, 1)] {
                self.put(value, bits);
            }
            self.put(0, 1);
        }
    }

    #[test]
    fn bytes_that_become_nothing_are_work_too() {
        let mut blocks = Bits::default();
        while blocks.0.len() < 100_000 {
            blocks.put_empty_block();
        }
        // An empty block without compression, from the next byte on.
        blocks.put(0, 3);
        let (result, turns) = inflate(&mut Inflation::default(), &blocks.0, MIB);
        assert_eq!(result, Ok(vec![]));
        assert!(turns > 5, "{turns}");
        let many = [0x03, 0x00].repeat(50_000);
        let (result, turns) = inflate(&mut Inflation::default(), &many, MIB);
        assert_eq!(result, Ok(vec![]), "final blocks");
        assert!(turns > 5, "{turns}");
    }

    #[test]
    fn a_message_that_is_cut_off_is_refused() {
        let text: Vec<u8> = (0..2_000).map(|n: u32| (n % 7 * 11 + n / 100) as u8).collect();
        let compressed = deflated(&text);
        let refused = (1..compressed.len()).filter(|at| whole(&compressed[..*at]) == Err(CloseCode::ProtocolError));
        let refused = refused.count();
        assert!(refused + 2 >= compressed.len() - 1, "{refused} of {}", compressed.len());
    }
}
