//! Transcripts of the test kit.

use serde_json::Value;

use crate::kit::{ScriptLine, pattern};

/// The lines of a transcript, and the patterns of expected values.
pub(super) fn transcript(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut is_read = false;
    for line in text.lines() {
        is_read |= matches!(ScriptLine::parse(line), Ok(Some(_)));
        if let Ok(expected) = pattern::parse(line) {
            assert!(pattern::matches(&expected, &expected), "{line} matches itself");
            assert!(pattern::matches(&Value::from("…"), &expected), "an ellipsis matches {line}");
        }
    }
    is_read
}
