//! Signed tokens in the format of `Phoenix.Token`. A Phoenix application with the host's secret (`secret_key_base`) can
//! verify them, and the host can verify that application's tokens.
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
//!
//! A host without a secret ends the callback with a fault `failed`.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::token;
use crate::output::as_json;

/// Why a token isn't valid. As text it is `missing`, `invalid` or `expired`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The token is empty.
    Missing,
    /// The token wasn't signed with this secret and salt, or it is damaged, or its value isn't a `T`.
    Invalid,
    /// The token is too old.
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

/// Signs a value, and returns the token. The token stores its maximum age, which is a day if `max_age` is none. It
/// applies unless [`verify`] gets another one.
///
/// # Faults
///
/// `oversize`: the token is larger than 64 KiB, its value nests more than 64 levels deep, or the salt has more than
/// 1,024 bytes.
pub fn sign(salt: &str, value: impl Serialize, max_age: Option<Duration>) -> String {
    token::sign(salt, &as_json(&value), max_age.map(|age| age.as_secs()))
}

/// Returns the value that was signed. `max_age` replaces the maximum age that the token stores.
///
/// # Errors
///
/// The token isn't valid: [`TokenError`] says why.
pub fn verify<T: DeserializeOwned>(salt: &str, token: &str, max_age: Option<Duration>) -> Result<T, TokenError> {
    use crate::bindings::bennu::channel::token::Problem;
    let value = token::verify(salt, token, max_age.map(|age| age.as_secs())).map_err(|problem| match problem {
        Problem::Missing => TokenError::Missing,
        Problem::Invalid => TokenError::Invalid,
        Problem::Expired => TokenError::Expired,
    })?;
    serde_json::from_str(&value).map_err(|_| TokenError::Invalid)
}
