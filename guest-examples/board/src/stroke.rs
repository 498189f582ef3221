//! Strokes, and the encoding of their lines.
//!
//! A line is a text of numbers: the x and y of the first point, and then the distance from each point to the next. The lines of
//! a stroke's pieces continue each other, so only the first piece begins with a place. Each number is a base64 VLQ as in source
//! maps, with the characters `A-Z a-z 0-9 - _`: a distance of up to 15 is one character, and one of up to 511 is two. There are
//! two units in a pixel of 100 %.

use std::collections::BTreeMap;

use bennu_guest::prelude::*;

use crate::because;

/// The width and height of a board, in units.
const SIZE: i32 = 1 << 14;
const COLORS: u8 = 8;
const WIDTHS: u8 = 4;
/// The longest line of a piece.
const LONGEST_LINE: usize = 2_000;
/// The longest lines of a stroke, together.
const LONGEST_STROKE: usize = 8_000;
/// At twenty pieces a second, a stroke of twenty seconds. The client then begins another one.
const MOST_PIECES: u16 = 400;
/// The longest name of a stroke.
const LONGEST_NAME: usize = 32;

/// A piece of a stroke, which a client draws.
#[derive(Deserialize)]
pub(crate) struct Piece {
    /// The client's name of the stroke.
    pub(crate) stroke: String,
    pub(crate) piece: u16,
    pub(crate) color: u8,
    pub(crate) width: u8,
    pub(crate) line: String,
}

/// A whole stroke, which another program draws.
#[derive(Deserialize)]
pub(crate) struct Drawn {
    color: u8,
    width: u8,
    line: String,
}

/// A stroke as the clients get it. The names are short, because a board has thousands of strokes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stroke {
    #[serde(rename = "c")]
    color: u8,
    #[serde(rename = "w")]
    width: u8,
    /// An object, because a merge patch replaces an array as a whole.
    #[serde(rename = "p")]
    pieces: BTreeMap<u16, String>,
}

/// The place of a cursor. Without a place it is hidden.
#[derive(Deserialize)]
pub(crate) struct Position {
    pub(crate) x: Option<i32>,
    pub(crate) y: Option<i32>,
}

impl Piece {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let is_plain = self.stroke.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if self.stroke.is_empty() || self.stroke.len() > LONGEST_NAME || !is_plain {
            return because("a stroke's name has 1 to 32 letters and digits");
        }
        if self.line.len() > LONGEST_LINE {
            return because("a piece has at most 2000 characters");
        }
        Ok(())
    }
}

impl Stroke {
    /// Begins a stroke with its first piece.
    pub(crate) fn begin(color: u8, width: u8, line: String) -> Result<Self, Error> {
        if color >= COLORS || width >= WIDTHS {
            return because("there are 8 colors and 4 widths");
        }
        let stroke = Self { color, width, pieces: BTreeMap::from([(0, line)]) };
        stroke.check()?;
        Ok(stroke)
    }

    /// Adds a piece. Returns false if the stroke has this piece already.
    pub(crate) fn add(&mut self, piece: &Piece) -> Result<bool, Error> {
        let next = self.pieces.len() as u16;
        if piece.piece < next {
            return Ok(false);
        }
        if piece.piece > next || next >= MOST_PIECES {
            return because("the pieces of a stroke are numbered from 0 to 399, without a gap");
        }
        self.pieces.insert(next, piece.line.clone());
        self.check()?;
        Ok(true)
    }

    /// An upper bound of its published bytes, with its key.
    pub(crate) fn bytes(&self) -> u64 {
        const REST: usize = r#""stroke/01234567890123456789":{"c":0,"w":0,"p":{}},"#.len();
        const EACH: usize = r#""000":"","#.len();
        (REST + self.pieces.values().map(|line| EACH + line.len()).sum::<usize>()) as u64
    }

    fn check(&self) -> Result<(), Error> {
        if self.pieces.values().map(String::len).sum::<usize>() > LONGEST_STROKE {
            return because("a stroke has at most 8000 characters");
        }
        let (mut x, mut y) = (0, 0);
        for line in self.pieces.values() {
            if line.is_empty() {
                return because("a line has at least one point");
            }
            let mut numbers = Numbers(line.bytes());
            while let Some(right) = numbers.next() {
                let (Some(right), Some(Some(down))) = (right, numbers.next()) else {
                    return because("a line isn't encoded correctly");
                };
                (x, y) = (x + right, y + down);
                if !is_on_board(x) || !is_on_board(y) {
                    return because("a line leaves the board");
                }
            }
        }
        Ok(())
    }
}

impl TryFrom<Drawn> for Stroke {
    type Error = Error;

    fn try_from(Drawn { color, width, line }: Drawn) -> Result<Self, Error> {
        Self::begin(color, width, line)
    }
}

impl Position {
    pub(crate) fn checked(self) -> Result<Self, Error> {
        if [self.x, self.y].into_iter().flatten().all(is_on_board) {
            Ok(self)
        } else {
            because("the cursor isn't on the board")
        }
    }
}

fn is_on_board(place: i32) -> bool {
    (0..SIZE).contains(&place)
}

/// The numbers of a line. A number that isn't encoded correctly is none.
struct Numbers<B>(B);

impl<B: Iterator<Item = u8>> Iterator for Numbers<B> {
    type Item = Option<i32>;

    fn next(&mut self) -> Option<Option<i32>> {
        let mut digit = self.0.next()?;
        let mut number = 0;
        // Four digits of five bits are more than any distance needs.
        for place in 0..4 {
            let Some(bits) = value(digit) else { return Some(None) };
            number |= (bits & 31) << (5 * place);
            if bits < 32 {
                let distance = number >> 1;
                return Some(Some(if number & 1 == 1 { -distance } else { distance }));
            }
            match self.0.next() {
                Some(next) => digit = next,
                None => return Some(None),
            }
        }
        Some(None)
    }
}

fn value(digit: u8) -> Option<i32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}
