//! Tokens of a test. They are readable and have no signature, so only a test's own `verify` accepts them.

use bennu_semantics::{Fault, read_value};
use serde_json::Value;

/// The reason why a token isn't valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// It is empty.
    Missing,
    /// It has another salt, or it is damaged.
    Invalid,
    /// It is too old.
    Expired,
}

/// A day, in seconds.
const MAX_AGE: u64 = 86_400;

/// The most levels of a token's value.
const DEPTH_MAX: usize = 64;
/// The most milliseconds by which a token's time may be in the future, as on a host.
const LEEWAY_MS: u64 = 60_000;

/// Checks whether a host would sign this value.
pub(crate) fn check(value: &str) -> Result<(), Fault> {
    let value = read_value(value).map_err(|error| Fault::failed(format!("the value to sign isn't JSON: {error}")))?;
    if nests_within(&value, DEPTH_MAX) {
        return Ok(());
    }
    Err(Fault::oversize("a token holds at most 64 KiB, nested at most 64 levels deep"))
}

fn nests_within(value: &Value, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    match value {
        // A token stores a list of bytes as a string, so such a list is one level.
        Value::Array(values) if values.iter().all(is_byte) => true,
        Value::Array(values) => values.iter().all(|value| nests_within(value, depth)),
        Value::Object(fields) => fields.values().all(|value| nests_within(value, depth)),
        _ => true,
    }
}

fn is_byte(value: &Value) -> bool {
    value.as_u64().is_some_and(|number| u8::try_from(number).is_ok())
}

/// A token of a test, made at a time. It is valid for `max_age` seconds, or for a day.
#[must_use]
pub fn sign(now: u64, salt: &str, value: &str, max_age: Option<u64>) -> String {
    format!("test-token|{salt}|{now}|{}|{value}", max_age.unwrap_or(MAX_AGE))
}

pub(crate) fn verify(now: u64, salt: &str, token: &str, max_age: Option<u64>) -> Result<String, TokenProblem> {
    if token.is_empty() {
        return Err(TokenProblem::Missing);
    }
    let fields: Vec<&str> = token.splitn(5, '|').collect();
    let ["test-token", signed_with, signed_at, age, value] = fields[..] else { return Err(TokenProblem::Invalid) };
    let (Ok(signed_at), Ok(age)) = (signed_at.parse::<u64>(), age.parse::<u64>()) else {
        return Err(TokenProblem::Invalid);
    };
    if signed_with != salt || signed_at > now.saturating_add(LEEWAY_MS) {
        return Err(TokenProblem::Invalid);
    }
    let age = max_age.unwrap_or(age);
    if signed_at.saturating_add(age.saturating_mul(1000)) < now {
        return Err(TokenProblem::Expired);
    }
    Ok(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_be_signed_a_minute_in_the_future_and_its_age_is_exact() {
        let token = sign(100_000, "s", "1", Some(10));
        let at = |now| verify(now, "s", &token, None);
        assert!(at(40_000).is_ok() && at(100_000).is_ok() && at(110_000).is_ok());
        assert!(matches!(at(39_999), Err(TokenProblem::Invalid)));
        assert!(matches!(at(110_001), Err(TokenProblem::Expired)));
    }
}
