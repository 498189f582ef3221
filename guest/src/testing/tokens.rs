//! Tokens of a test: readable, and signed by nothing. They are good for a test's own `token::verify` and nowhere else.

use bennu_world::{HostFacts, sign};
use serde::Serialize;

use super::setup::text;

/// A token as the host would sign it, at the start of the year 2026, which is a test's usual time.
pub fn token(salt: &str, value: impl Serialize) -> String {
    sign(HostFacts::default().now, salt, &text(&value), None)
}
