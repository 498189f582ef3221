//! Reads Erlang's external term format, as far as a token may contain it.
//!
//! The format: <https://www.erlang.org/doc/apps/erts/erl_ext_dist.html>. The reader refuses terms that aren't plain data
//! (pids, ports, references, functions, bit strings), compressed terms, improper lists, and floats as text (which OTP wrote
//! before 17). A length in the input allocates nothing by itself: the memory is at most the input's length times the size of a
//! [`Term`].

use super::json::DEPTH_MAX;

/// A term of plain data.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term<'a> {
    Atom(String),
    /// At least `i64::MIN`, and at most `u64::MAX`.
    Integer(i128),
    /// Always finite.
    Float(f64),
    Binary(&'a [u8]),
    List(Vec<Term<'a>>),
    Tuple(Vec<Term<'a>>),
    Map(Vec<(Term<'a>, Term<'a>)>),
}

/// The first byte of every term.
pub(super) const VERSION: u8 = 131;

/// The tags: the first byte of a term after the version.
pub(super) mod tag {
    pub(crate) const NEW_FLOAT: u8 = b'F';
    pub(crate) const SMALL_INTEGER: u8 = b'a';
    pub(crate) const INTEGER: u8 = b'b';
    /// Latin-1, as OTP 25 and older write atoms.
    pub(crate) const ATOM: u8 = b'd';
    pub(crate) const SMALL_TUPLE: u8 = b'h';
    pub(crate) const LARGE_TUPLE: u8 = b'i';
    pub(crate) const NIL: u8 = b'j';
    /// A list of bytes.
    pub(crate) const STRING: u8 = b'k';
    pub(crate) const LIST: u8 = b'l';
    pub(crate) const BINARY: u8 = b'm';
    pub(crate) const SMALL_BIG: u8 = b'n';
    pub(crate) const SMALL_ATOM: u8 = b's';
    pub(crate) const MAP: u8 = b't';
    pub(crate) const ATOM_UTF8: u8 = b'v';
    pub(crate) const SMALL_ATOM_UTF8: u8 = b'w';
}

/// The maximum number of characters of an atom, which is Erlang's own limit.
const ATOM_CHARS_MAX: usize = 255;

/// Reads one term, which must take up all bytes. Returns none if the bytes aren't a term of plain data.
pub(super) fn read(bytes: &[u8]) -> Option<Term<'_>> {
    let mut input = Input(bytes);
    if input.byte()? != VERSION {
        return None;
    }
    // One level more than the data may have, because the payload of a token is a tuple that contains the data.
    let term = input.term(DEPTH_MAX + 1)?;
    input.0.is_empty().then_some(term)
}

/// The bytes that haven't been read yet.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn term(&mut self, depth: usize) -> Option<Term<'a>> {
        let depth = depth.checked_sub(1)?;
        Some(match self.byte()? {
            tag::SMALL_INTEGER => Term::Integer(self.byte()?.into()),
            tag::INTEGER => Term::Integer(i32::from_be_bytes(self.array()?).into()),
            tag::SMALL_BIG => self.big()?,
            tag::NEW_FLOAT => Term::Float(Some(f64::from_be_bytes(self.array()?)).filter(|number| number.is_finite())?),
            tag::BINARY => self.u32().and_then(|length| self.take(length)).map(Term::Binary)?,
            tag::ATOM => self.u16().and_then(|length| self.latin1(length))?,
            tag::SMALL_ATOM => self.byte().and_then(|length| self.latin1(length.into()))?,
            tag::ATOM_UTF8 => self.u16().and_then(|length| self.utf8(length))?,
            tag::SMALL_ATOM_UTF8 => self.byte().and_then(|length| self.utf8(length.into()))?,
            tag::SMALL_TUPLE => {
                let length = self.byte()?;
                Term::Tuple(self.terms(length.into(), depth)?)
            }
            tag::LARGE_TUPLE => {
                let length = self.u32()?;
                Term::Tuple(self.terms(length, depth)?)
            }
            tag::NIL => Term::List(Vec::new()),
            tag::STRING => {
                let length = self.u16()?;
                Term::List(self.take(length)?.iter().map(|byte| Term::Integer((*byte).into())).collect())
            }
            tag::LIST => {
                let length = self.u32()?;
                let terms = self.terms(length, depth)?;
                // A proper list ends with the empty list.
                (self.byte()? == tag::NIL).then_some(Term::List(terms))?
            }
            tag::MAP => {
                let length = self.u32()?;
                let pairs = (0..length).map(|_| Some((self.term(depth)?, self.term(depth)?)));
                Term::Map(grown(pairs)?)
            }
            _ => return None,
        })
    }

    fn terms(&mut self, length: usize, depth: usize) -> Option<Vec<Term<'a>>> {
        grown((0..length).map(|_| self.term(depth)))
    }

    /// Reads a big integer: a length, a sign, and a magnitude with the least significant byte first.
    fn big(&mut self) -> Option<Term<'a>> {
        let length = self.byte()?;
        let is_negative = match self.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let digits = self.take(length.into())?;
        let (low, high) = digits.split_at(digits.len().min(8));
        if high.iter().any(|digit| *digit != 0) {
            return None;
        }
        let magnitude = low.iter().rev().fold(0, |number: i128, digit| number << 8 | i128::from(*digit));
        let number = if is_negative { -magnitude } else { magnitude };
        (number >= i64::MIN.into()).then_some(Term::Integer(number))
    }

    fn latin1(&mut self, length: usize) -> Option<Term<'a>> {
        let name = self.take(length)?;
        (name.len() <= ATOM_CHARS_MAX).then(|| Term::Atom(name.iter().map(|byte| char::from(*byte)).collect()))
    }

    fn utf8(&mut self, length: usize) -> Option<Term<'a>> {
        let name = std::str::from_utf8(self.take(length)?).ok()?;
        (name.chars().count() <= ATOM_CHARS_MAX).then(|| Term::Atom(name.to_owned()))
    }

    fn u16(&mut self) -> Option<usize> {
        Some(u16::from_be_bytes(self.array()?).into())
    }

    fn u32(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.array()?)).ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }
}

/// Collects terms, or returns none at the first none. It doesn't use `collect`, which may allocate the length that the input
/// claims.
fn grown<T>(terms: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let mut all = Vec::new();
    for term in terms {
        all.push(term?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_data_is_read() {
        let atom = |name: &str| Term::Atom(name.into());
        let cases: [(&[u8], Term<'_>); 18] = [
            (b"\x83a\xff", Term::Integer(255)),
            (b"\x83b\xff\xff\xff\xff", Term::Integer(-1)),
            (b"\x83n\x08\x00\xff\xff\xff\xff\xff\xff\xff\xff", Term::Integer(u64::MAX.into())),
            (b"\x83n\x08\x01\0\0\0\0\0\0\0\x80", Term::Integer(i64::MIN.into())),
            (b"\x83n\x0a\x00\x01\0\0\0\0\0\0\0\0\0", Term::Integer(1)),
            (b"\x83n\x00\x01", Term::Integer(0)),
            (b"\x83F\x3f\xf8\0\0\0\0\0\0", Term::Float(1.5)),
            (b"\x83m\0\0\0\x02\xff\0", Term::Binary(b"\xff\0")),
            (b"\x83d\0\x02\xe9t", atom("ét")),
            (b"\x83s\x01\xe9", atom("é")),
            (b"\x83v\0\x02\xc3\xa9", atom("é")),
            (b"\x83w\x02ok", atom("ok")),
            (b"\x83h\x00", Term::Tuple(vec![])),
            (b"\x83i\0\0\0\x01j", Term::Tuple(vec![Term::List(vec![])])),
            (b"\x83k\0\x02\x00a", Term::List(vec![Term::Integer(0), Term::Integer(97)])),
            (b"\x83l\0\0\0\x01w\x01aj", Term::List(vec![atom("a")])),
            (b"\x83t\0\0\0\x01a\x01j", Term::Map(vec![(Term::Integer(1), Term::List(vec![]))])),
            (b"\x83t\0\0\0\0", Term::Map(vec![])),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(bytes), Some(expected), "{bytes:?}");
            assert_eq!(read(&bytes[..bytes.len() - 1]), None, "{bytes:?}, cut");
            assert_eq!(read(&[bytes, b"\0"].concat()), None, "{bytes:?}, with one more");
        }
    }

    #[test]
    fn other_terms_than_plain_data_are_refused() {
        let cases: [(&str, &[u8]); 30] = [
            ("nothing", b""),
            ("only a version", b"\x83"),
            ("another version", b"\x82a\x01"),
            ("compressed", b"\x83P\0\0\0\x02\x78\x9c\x4b\x64\x04\0\0\xcc\0c"),
            ("a pid", b"\x83gw\x01a\0\0\0\x01\0\0\0\0\0"),
            ("a new pid", b"\x83Xw\x01a\0\0\0\x01\0\0\0\0\0\0\0\0"),
            ("a port", b"\x83fw\x01a\0\0\0\x01\0"),
            ("a reference", b"\x83r\0\x01w\x01a\0\0\0\0\x01"),
            ("a newer reference", b"\x83Z\0\x01w\x01a\0\0\0\0\0\0\0\x01"),
            ("a function", b"\x83p\0\0\0\x04"),
            ("an external function", b"\x83qw\x01aw\x01ba\x01"),
            ("an old function", b"\x83u\0\0\0\0"),
            ("a bit string", b"\x83M\0\0\0\x01\x04\xf0"),
            ("an atom of a cache", b"\x83R\0"),
            ("an old float", b"\x83c1.50000000000000000000e+00\0\0\0\0\0"),
            ("a float that is no number", b"\x83F\x7f\xf8\0\0\0\0\0\0"),
            ("an infinite float", b"\x83F\x7f\xf0\0\0\0\0\0\0"),
            ("past u64", b"\x83n\x09\x00\0\0\0\0\0\0\0\0\x01"),
            ("past i64", b"\x83n\x08\x01\x01\0\0\0\0\0\0\x80"),
            ("a sign that is none", b"\x83n\x01\x02\x01"),
            ("a large integer", b"\x83o\0\0\0\x01\0\x01"),
            ("an improper list", b"\x83l\0\0\0\x01a\x01a\x02"),
            ("a list that lies", b"\x83l\xff\xff\xff\xffa\x01j"),
            ("a tuple that lies", b"\x83i\xff\xff\xff\xffa\x01"),
            ("a map that lies", b"\x83t\xff\xff\xff\xffa\x01a\x01"),
            ("a map without a value", b"\x83t\0\0\0\x01a\x01"),
            ("a binary that lies", b"\x83m\xff\xff\xff\xffa"),
            ("a string that lies", b"\x83k\xff\xffa"),
            ("an atom that is no UTF-8", b"\x83w\x01\xff"),
            ("an atom that lies", b"\x83v\xff\xffa"),
        ];
        for (what, bytes) in cases {
            assert_eq!(read(bytes), None, "{what}");
        }
        let long = [b"\x83d\x01\x00".as_slice(), &[b'a'; 256]].concat();
        assert_eq!(read(&long), None, "an atom of 256 characters");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [b"\x83".to_vec(), b"h\x01".repeat(depth), b"j".to_vec()].concat();
        assert!(read(&nested(DEPTH_MAX)).is_some());
        assert_eq!(read(&nested(DEPTH_MAX + 1)), None);
        assert_eq!(read(&nested(1 << 20)), None);
    }
}
