//! Escapes text from clients and plugins, so that it can be printed to a terminal.
//!
//! A topic, a user or a presence's key may contain any characters that a client sends: escape sequences that clear the screen
//! or paste a command, newlines that fake a line of output, direction marks that reorder the surrounding text, or invisible
//! characters. All characters that aren't visible are escaped, as in the log.

use std::fmt::Write;
use std::io;

use anyhow::Result;
use serde::Serialize;

/// Ranges of characters that show nothing and that `Debug` doesn't escape. Unicode calls them "default ignorable".
const BLANK: [(char, char); 8] = [
    ('\u{34f}', '\u{34f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{e0100}', '\u{e01ef}'),
];

/// Escapes a name for one line. Invisible characters become `\n`, `\u{1b}` and so on. A backslash is doubled, so that a name
/// can't contain a fake escape.
#[must_use]
pub fn name(text: &str) -> String {
    // `escape_debug` leaves the characters in `BLANK` as they are.
    let escape = |c: char| match c.escape_debug() {
        escaped if escaped.len() > 1 => escaped.to_string(),
        _ => c.escape_unicode().to_string(),
    };
    escaped(text, |c| c == '\\' || is_hidden(c), escape)
}

/// Escapes a text of several lines, such as an error. Newlines and tabs stay as they are.
#[must_use]
pub fn lines(text: &str) -> String {
    escaped(text, |c| !matches!(c, '\n' | '\t') && is_hidden(c), |c| c.escape_unicode().to_string())
}

/// Escapes JSON text without changing its meaning. Newlines and tabs between values stay as they are. A carriage return
/// becomes a space, because on a terminal the following text would overwrite the line. All three can occur only between
/// values, because JSON requires escapes for them in strings.
#[must_use]
pub fn json(text: &str) -> String {
    let as_json = |c: char| match c {
        '\r' => " ".to_owned(),
        c => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    escaped(text, |c| !matches!(c, '\n' | '\t') && is_hidden(c), as_json)
}

/// Formats a value as indented JSON, and escapes it as [`json`] does.
///
/// # Errors
/// If the value cannot be serialized.
pub fn pretty(value: &impl Serialize) -> Result<String> {
    Ok(json(&serde_json::to_string_pretty(value)?))
}

/// Writes lines of JSON to a terminal, escaped as [`json`] does.
pub struct JsonLines<W> {
    out: W,
    /// The beginning of the last line, until its newline is written.
    line: Vec<u8>,
}

impl<W: io::Write> JsonLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }
}

impl<W: io::Write> io::Write for JsonLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        // The text after the last newline waits until its own newline is written.
        if let Some(end) = self.line.iter().rposition(|byte| *byte == b'\n') {
            let lines: Vec<u8> = self.line.drain(..=end).collect();
            self.out.write_all(json(&String::from_utf8_lossy(&lines)).as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool, escape: impl Fn(char) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_escaped(c) {
            // Writing to a string doesn't fail.
            let _ = shown.write_str(&escape(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character is invisible: a control character, line end, direction mark, character without width, or code point
/// that Unicode doesn't assign. Uses the standard library's escapes for `Debug`, and [`BLANK`].
fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // The character is tested behind a letter. At the start of a text, `escape_debug` also escapes combining accents.
    let behind_a_letter: String = ['a', c].into_iter().collect();
    behind_a_letter.escape_debug().nth(1) == Some('\\')
        || BLANK.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters that control a terminal or are invisible.
    const HIDDEN: [char; 27] = [
        '\0',
        '\u{7}',
        '\u{8}',
        '\n',
        '\r',
        '\t',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{9b}',
        '\u{9d}',
        '\u{ad}',
        '\u{61c}',
        '\u{200b}',
        '\u{200d}',
        '\u{200e}',
        '\u{2028}',
        '\u{2029}',
        '\u{202a}',
        '\u{202e}',
        '\u{2066}',
        '\u{2069}',
        '\u{feff}',
        '\u{fe0f}',
        '\u{3164}',
        '\u{e0041}',
        '\u{e0100}',
    ];

    #[test]
    fn invisible_characters_of_a_name_are_escaped() {
        assert_eq!(name("room:lobby \"ö\" o'brien 漢字 e\u{301} 🐦"), "room:lobby \"ö\" o'brien 漢字 e\u{301} 🐦");
        assert_eq!(name("a\u{1b}[2J\nb\u{202e}c\\n"), "a\\u{1b}[2J\\nb\\u{202e}c\\\\n");
        for c in HIDDEN {
            let shown = name(&format!("a{c}b"));
            assert!(shown.starts_with("a\\") && shown.ends_with('b'), "{c:?}: {shown:?}");
            assert!(shown.chars().all(|c| c.is_ascii_graphic()), "{c:?}: {shown:?}");
        }
    }

    #[test]
    fn an_error_keeps_its_lines() {
        assert_eq!(lines("a\\b\n\tc\u{1b}]0;d\u{7}"), "a\\b\n\tc\\u{1b}]0;d\\u{7}");
        assert_eq!(lines("a\r\u{202e}"), "a\\u{d}\\u{202e}");
    }

    #[test]
    fn escaped_json_has_the_same_meaning() -> Result<()> {
        let text: String = HIDDEN.into_iter().chain("\\\"ö🐦".chars()).collect();
        let value = serde_json::json!({ &text: [&text, 1, { "a": &text }] });
        for printed in [serde_json::to_string(&value)?, serde_json::to_string_pretty(&value)?] {
            let shown = json(&printed);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown)?, value);
            assert!(!shown.chars().any(|c| c != '\n' && is_hidden(c)), "{shown:?}");
            assert!(shown.contains("\\u202e") && shown.contains("\\udb40\\udc41") && shown.contains("ö🐦"), "{shown}");
        }
        let mut out = JsonLines::new(Vec::new());
        for byte in "{\"a\":\"\u{202e}ö\"}\n{}\n".bytes() {
            io::Write::write_all(&mut out, &[byte])?;
        }
        assert_eq!(String::from_utf8(out.out)?, "{\"a\":\"\\u202eö\"}\n{}\n");
        assert_eq!(json("{ \"a\" :\n\t1.0,\r\"b\":2}"), "{ \"a\" :\n\t1.0, \"b\":2}");
        Ok(())
    }
}
