//! Expected JSON, in which `…` matches any value.

use anyhow::{Context, Result};
use serde_json::Value;

/// The pattern that matches any value.
const ANYTHING: &str = "…";

/// Reads an expected value.
///
/// # Errors
/// If the text isn't JSON, apart from the ellipses.
pub fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(&quote_ellipses(text)).with_context(|| format!("this isn't JSON: {text}"))
}

/// Replaces each `…` outside of strings by a string, so that the text is JSON.
fn quote_ellipses(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let (mut in_string, mut is_escaped) = (false, false);
    for c in text.chars() {
        match c {
            '"' if !is_escaped => in_string = !in_string,
            '…' if !in_string => {
                quoted.push_str("\"…\"");
                continue;
            }
            _ => {}
        }
        is_escaped = c == '\\' && !is_escaped;
        quoted.push(c);
    }
    quoted
}

/// Whether a value matches the expected one.
pub fn matches(expected: &Value, received: &Value) -> bool {
    match (expected, received) {
        (Value::String(text), _) if text == ANYTHING => true,
        (Value::Array(expected), Value::Array(received)) => {
            expected.len() == received.len()
                && expected.iter().zip(received).all(|(expected, received)| matches(expected, received))
        }
        (Value::Object(expected), Value::Object(received)) => {
            let has = |(key, expected): (&String, &Value)| {
                received.get(key).is_some_and(|received| matches(expected, received))
            };
            expected.len() == received.len() && expected.iter().all(has)
        }
        (expected, received) => expected == received,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ellipsis_matches_anything_but_only_as_a_value() -> Result<()> {
        let cases = [
            ("…", "[1]", true),
            (r#"{"a": …, "b": [1, …]}"#, r#"{"a": null, "b": [1, {}]}"#, true),
            (r#"{"a": …}"#, "{}", false),
            (r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#, false),
            (r#"{"a": "b…\"…"}"#, r#"{"a": "b…\"…"}"#, true),
            (r#"{"a": "b…"}"#, r#"{"a": "bc"}"#, false),
        ];
        for (expected, received, does_match) in cases {
            assert_eq!(
                matches(&parse(expected)?, &serde_json::from_str(received)?),
                does_match,
                "{expected} and {received}"
            );
        }
        Ok(())
    }
}
