//! Signed tokens, as `Phoenix.Token` makes them: a Phoenix application that knows the host's secret reads them, and the other
//! way round.
//!
//! ```
//! # use bennu_guest::prelude::*;
//! fn user_of(token: &str) -> Result<String, Error> {
//!     let two_weeks = Duration::from_secs(14 * 24 * 3600);
//!     match token::verify("user socket", token, Some(two_weeks)) {
//!         Ok(user) => Ok(user),
//!         Err(problem) => refuse(json!({ "reason": problem.to_string() })),
//!     }
//! }
//! ```

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::token;
use crate::output::as_json;

/// Why a token isn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// There is none: it is empty.
    Missing,
    /// It wasn't signed with this secret and salt, it is damaged, or what was signed isn't what is wanted.
    Invalid,
    /// It is too old.
    Expired,
}

impl fmt::Display for TokenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
        })
    }
}

impl std::error::Error for TokenError {}

/// Signs a value. The token is good for so long, or for a day, unless who verifies it says otherwise.
///
/// A host without a secret ends the callback with a fault.
pub fn sign(salt: &str, value: impl Serialize, max_age: Option<Duration>) -> String {
    token::sign(salt, &as_json(&value), max_age.map(|age| age.as_secs()))
}

/// What was signed. An age that is given here goes over what the token says itself.
///
/// # Errors
///
/// Why it isn't taken.
pub fn verify<T: DeserializeOwned>(salt: &str, token: &str, max_age: Option<Duration>) -> Result<T, TokenError> {
    use crate::bindings::bennu::channel::token::Problem;
    let value = token::verify(salt, token, max_age.map(|age| age.as_secs())).map_err(|problem| match problem {
        Problem::Missing => TokenError::Missing,
        Problem::Invalid => TokenError::Invalid,
        Problem::Expired => TokenError::Expired,
    })?;
    serde_json::from_str(&value).map_err(|_| TokenError::Invalid)
}
