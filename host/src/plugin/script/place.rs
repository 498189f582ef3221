//! Places in a source: line, column, and the line with a caret.

use std::fmt::Write as _;

/// The longest line that is shown with a caret, in characters. A longer one is from a bundle.
const SHOWN_MAX: usize = 160;

/// Returns `FILE:LINE:COLUMN: MESSAGE`, and below it the line with a caret. `at` is a position in bytes.
pub(super) fn shown(file: &str, source: &str, at: usize, message: &str) -> String {
    let at = floor(source, at.min(source.len()));
    let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = source[at..].find('\n').map_or(source.len(), |newline| at + newline);
    let (number, column) = (source[..start].matches('\n').count() + 1, source[start..at].chars().count() + 1);
    let mut text = format!("{file}:{number}:{column}: {message}");
    let line = source[start..end].trim_end();
    if line.chars().count() <= SHOWN_MAX {
        let margin = number.to_string().len();
        // A tab stays a tab, so that the caret is below its character.
        let before: String = source[start..at].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let _ = write!(text, "\n  {number} | {line}\n  {:margin$} | {before}^", "");
    }
    text
}

/// Returns the last position up to `at` that is between two characters.
fn floor(source: &str, at: usize) -> usize {
    (0..=at).rev().find(|&at| source.is_char_boundary(at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_line_column_and_caret() {
        let source = "let a = 1;\n\tlet ü = ;\n";
        let at = source.find(';').unwrap_or_default();
        assert_eq!(shown("a.js", source, at, "no"), "a.js:1:10: no\n  1 | let a = 1;\n    |          ^");
        let at = source.rfind(';').unwrap_or_default();
        assert_eq!(shown("a.js", source, at, "no"), "a.js:2:10: no\n  2 | \tlet ü = ;\n    | \t        ^");
        assert_eq!(shown("a.js", "", 7, "empty"), "a.js:1:1: empty\n  1 | \n    | ^");
        let long = "x".repeat(1000);
        assert_eq!(shown("a.js", &long, 500, "long"), "a.js:1:501: long");
    }
}
