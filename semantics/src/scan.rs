//! A scanner that finds the end of each JSON value in one pass, and allocates nothing for the values.
//!
//! It accepts exactly what `serde_json` accepts, as its test checks. It exists because each message is a frame to scan,
//! and the host would throw away most of a general parser's result.

use std::ops::Range;

/// A position in a text.
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether a string after the start of the last value has an escape.
    has_escape: bool,
    /// The arrays and objects around the position, without the innermost: true for an object.
    around: Vec<bool>,
}

/// The text isn't JSON, from this position on.
#[derive(Debug)]
pub struct NotJson(pub usize);

/// Whether a text is one JSON value.
#[inline]
#[must_use]
pub fn is_json(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value().is_ok() && scanner.is_at_end()
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of a text.
    #[inline]
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0, has_escape: false, around: Vec::new() }
    }

    /// Skips white space and then this byte.
    ///
    /// # Errors
    /// If another byte follows.
    #[inline]
    pub fn pass(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.passes(byte) { Ok(()) } else { Err(NotJson(self.at)) }
    }

    /// Skips white space, and this byte if it follows. Returns whether it followed.
    #[inline]
    pub fn passes(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// Whether only white space follows.
    #[inline]
    pub fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Skips white space and a value. Returns the value's range, and whether it has no escape.
    ///
    /// # Errors
    /// If no value follows.
    #[inline]
    pub fn value(&mut self) -> Result<(Range<usize>, bool), NotJson> {
        let first = self.peek();
        let start = self.at;
        self.has_escape = false;
        match first {
            Some(b'"') => self.string()?,
            _ => self.skip_value()?,
        }
        Ok((start..self.at, !self.has_escape))
    }

    /// The next byte that isn't white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Without recursion, so that deep nesting can't overflow the stack.
    fn skip_value(&mut self) -> Result<(), NotJson> {
        let mut inside: Option<bool> = None;
        loop {
            let opened = match self.peek() {
                Some(b'"') => self.string().map(|()| None)?,
                Some(b'{') => Some(true),
                Some(b'[') => Some(false),
                Some(b't') => self.word(b"true").map(|()| None)?,
                Some(b'f') => self.word(b"false").map(|()| None)?,
                Some(b'n') => self.word(b"null").map(|()| None)?,
                Some(b'-' | b'0'..=b'9') => self.number().map(|()| None)?,
                _ => return Err(NotJson(self.at)),
            };
            let mut takes_comma = opened.is_none();
            if let Some(is_object) = opened {
                self.at += 1;
                self.around.extend(inside.replace(is_object));
            }
            // After a value: a comma and the next value, or the end of the array or object.
            loop {
                let Some(is_object) = inside else { return Ok(()) };
                if takes_comma && self.passes(b',') {
                    break;
                }
                if self.passes(if is_object { b'}' } else { b']' }) {
                    inside = self.around.pop();
                    takes_comma = true;
                } else if takes_comma {
                    return Err(NotJson(self.at));
                } else {
                    break;
                }
            }
            if inside == Some(true) {
                if self.peek() != Some(b'"') {
                    return Err(NotJson(self.at));
                }
                self.string()?;
                self.pass(b':')?;
            }
        }
    }

    /// Skips a string. Its first quote is at the position.
    #[inline]
    fn string(&mut self) -> Result<(), NotJson> {
        let mut at = self.at + 1;
        loop {
            at = plain_until(self.bytes, at);
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.has_escape = true;
                    self.at = at;
                    self.escape()?;
                    at = self.at;
                }
                _ => return Err(NotJson(at)),
            }
        }
    }

    /// Skips an escape. Its backslash is at the position. A surrogate doesn't need its other half.
    fn escape(&mut self) -> Result<(), NotJson> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6).filter(|it| it.iter().all(u8::is_ascii_hexdigit));
                digits.ok_or(NotJson(self.at))?;
                self.at += 6;
            }
            _ => return Err(NotJson(self.at)),
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NotJson> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(NotJson(self.at));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), NotJson> {
        self.at += usize::from(self.bytes[self.at] == b'-');
        let start = self.at;
        self.digits()?;
        if self.bytes[start] == b'0' && self.at > start + 1 {
            return Err(NotJson(start));
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    /// Skips digits, at least one.
    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(NotJson(start)) } else { Ok(()) }
    }
}

/// Whether a text needs no escapes as a JSON string.
#[must_use]
#[inline]
pub fn is_plain(text: &str) -> bool {
    plain_until(text.as_bytes(), 0) == text.len()
}

/// The position of the first quote, backslash or control character from `at` on, or the end. Checks eight bytes at once.
#[inline]
fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    while let Some(eight) = bytes.get(at..at + 8).and_then(|eight| <[u8; 8]>::try_from(eight).ok()) {
        let word = u64::from_le_bytes(eight);
        let (quote, backslash) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        // The lowest match is exact. A match above it may be an artefact of the borrow.
        let found = (is_zero(quote) | is_zero(backslash) | control) & TOPS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use bennu_test_tiers::Noise;

    /// Texts with every construct of JSON, valid and invalid.
    const TEXTS: [&str; 14] = [
        r#"{"a":[1,-0.5e+10,{}],"b\u00e9\ud800\n":null," ":[true,false,[[]]]}"#,
        r#" [ "plain", "esc\"aped\\" , "\/\b\f\r\t" ] "#,
        "\"eight by eight by eight, and then some: é😀\"",
        "\"control \u{1} \u{1f} \u{7f} \u{80}\"",
        "-0",
        "0.10E-7",
        "01",
        "1.",
        "1e+",
        "nul",
        "[1,]",
        r#"{"a":1,}"#,
        r#"{"a" 1 : 2}"#,
        r#"{1:2}"#,
    ];

    /// Fragments that break JSON in different ways.
    const SHARP: [&str; 26] = [
        "\"", "\\", "[", "]", "{", "}", ",", ":", "0", "1", "-", "+", ".", "e", "E", "u", "\\u00e", " ", "\n", "\u{0}",
        "\u{1f}", "\u{7f}", "é", "t", "null", "true",
    ];

    fn by_hand(text: &str) -> Option<&str> {
        let mut scanner = Scanner::new(text);
        let (range, is_plain) = scanner.value().ok()?;
        let value = &text[range];
        assert!(!value.starts_with('"') || is_plain != value.contains('\\'), "{text:?}");
        scanner.is_at_end().then_some(value)
    }

    fn check(text: &str) -> bool {
        let by_serde = serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get);
        assert_eq!(by_hand(text), by_serde, "{text:?}");
        by_serde.is_some()
    }

    /// A text with some characters inserted, removed, replaced or repeated.
    fn damaged(noise: &mut Noise, text: &str) -> String {
        let mut parts: Vec<String> = text.chars().map(String::from).collect();
        for _ in 0..noise.below(4) {
            let (at, sharp) = (noise.below(parts.len() + 1), SHARP[noise.below(SHARP.len())].to_owned());
            match noise.below(5) {
                0 => parts.truncate(at),
                1 => parts.insert(at, sharp),
                2 if at < parts.len() => parts[at] = sharp,
                3 if at < parts.len() => drop(parts.remove(at)),
                _ => parts.extend_from_within(at..),
            }
        }
        parts.concat()
    }

    #[test]
    fn the_scan_accepts_the_same_texts_as_serde() {
        let (mut noise, mut taken) = (Noise::new(11), 0);
        let rounds = bennu_test_tiers::rounds("semantics::scan");
        for _ in 0..rounds {
            let text = TEXTS[noise.below(TEXTS.len())];
            taken += usize::from(check(&damaged(&mut noise, text)));
        }
        assert!((rounds / 10..rounds / 10 * 9).contains(&taken), "{taken} of {rounds} are JSON: too few of one kind");
    }

    #[test]
    fn every_byte_is_classified_at_each_of_eight_positions() {
        for byte in 0..=0x7f_u8 {
            for before in 0..17 {
                for after in [0, 1, 9] {
                    let text = format!("{}{}{}", "é".repeat(before), char::from(byte), "x".repeat(after));
                    check(&format!("\"{text}\""));
                    let by_serde = serde_json::Value::from(&*text).to_string();
                    assert_eq!(is_plain(&text), by_serde == format!("\"{text}\""), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn no_nesting_is_too_deep() {
        assert!(check(&("[{\"a\":".repeat(100_000) + "1" + &"}]".repeat(100_000))));
    }
}
