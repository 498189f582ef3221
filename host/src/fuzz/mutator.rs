//! Mutations of inputs, from a seed: a run can be repeated.
//!
//! Stable Rust has no coverage to guide a fuzzer, so these inputs stay close to the corpus: a few changes of one input, or parts
//! of two. The tokens of a grammar come from the corpus itself. The crates for this either need coverage (`libafl`), or
//! structure (`mutatis`, `arbitrary`), and the bytes of most targets are text.

use bennu_test_tiers::Noise;

/// The most bytes of an input.
const BYTES_MAX: usize = 8 << 10;

/// Bytes that mean something in most of the formats.
const SHARP: &[u8] = b"\"\\[]{}(),:;=.-+*/%#@!?&<>|'` \t\r\n0159aefuxnt\x00\x01\x7f\x80\xc3\xed\xff";

/// Numbers at which formats and machines have their limits.
const NUMBERS: [&[u8]; 8] = [b"0", b"-1", b"255", b"256", b"65536", b"4294967296", b"18446744073709551616", b"1e999"];

/// Returns an input that is made from the corpus.
pub(super) fn mutated(noise: &mut Noise, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[noise.below(corpus.len())].clone();
    for _ in 0..=noise.below(5) {
        let other = &corpus[noise.below(corpus.len())];
        mutate(noise, &mut bytes, other);
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

/// Changes the bytes once. May take parts of another input.
fn mutate(noise: &mut Noise, bytes: &mut Vec<u8>, other: &[u8]) {
    let (at, end) = range(noise, bytes.len());
    let sharp = SHARP[noise.below(SHARP.len())];
    match noise.below(12) {
        0 if at < bytes.len() => bytes[at] ^= 1 << noise.below(8),
        1 if at < bytes.len() => bytes[at] = sharp,
        2 => bytes.insert(at, sharp),
        3 if at < bytes.len() => drop(bytes.remove(at)),
        4 => drop(bytes.drain(at..end)),
        5 => bytes.truncate(at),
        6 => {
            let copy = bytes[at..end].to_vec();
            let to = noise.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        7 => {
            let (from, to) = range(noise, other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        8 => {
            bytes.truncate(at);
            bytes.extend_from_slice(&other[noise.below(other.len() + 1)..]);
        }
        9 => set_number(noise, bytes),
        10 if end - at >= 2 => bytes[at..at + 2].fill([0, 0xff, 0x80][noise.below(3)]),
        _ => (0..=noise.below(40)).for_each(|_| bytes.insert(at, sharp)),
    }
}

/// A range of at most 32 bytes.
fn range(noise: &mut Noise, length: usize) -> (usize, usize) {
    let at = noise.below(length + 1);
    (at, (at + noise.below(33)).min(length))
}

/// Replaces a number in the text.
fn set_number(noise: &mut Noise, bytes: &mut Vec<u8>) {
    let start = noise.below(bytes.len() + 1);
    let Some(at) = bytes[start..].iter().position(u8::is_ascii_digit).map(|at| start + at) else { return };
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.splice(at..at + digits, NUMBERS[noise.below(NUMBERS.len())].iter().copied());
}
