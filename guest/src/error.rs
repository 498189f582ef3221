//! What ends a callback early: the client's mistake, or the plugin's failure. They never mix.

use std::fmt;

use serde_json::json;

use crate::plain::plain;
use crate::{IntoPayload, Payload};

/// What a join gives: the member's state, or an [`Error`].
pub type Join<C> = Result<C, Error>;

/// Why a callback ended early.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The client's mistake: a join is refused with this response, and an event answered with an `error` reply.
    Refused(Payload),
    /// The plugin's failure, with a text for the log: a fault. Nothing of the callback is done, and the member ends.
    Failed(String),
}

/// Refuses a join, or answers an event with an `error` reply.
///
/// ```
/// # use bennu_guest::prelude::*;
/// fn sane(name: &str) -> Result<String, Error> {
///     match name.trim() {
///         "" => refuse(json!({ "reason": "a name is needed" })),
///         name => Ok(name.to_owned()),
///     }
/// }
/// ```
pub fn refuse<T>(response: impl IntoPayload) -> Result<T, Error> {
    Err(Error::Refused(response.into_payload()))
}

/// Gives up, with a text for the log: a fault.
pub fn fail<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Failed(why.into()))
}

/// A payload isn't what was expected of it. Displayed, it names the field and the expectation:
/// `body: missing, expected a string`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadError {
    reason: String,
}

impl PayloadError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// What is wrong with `what`, a field or the payload.
    pub(crate) fn json(what: &str, error: &serde_json::Error) -> Self {
        Self::new(format!("{what}: {}", words(error)))
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for PayloadError {}

/// What the client sent is the client's mistake.
impl From<PayloadError> for Error {
    fn from(error: PayloadError) -> Self {
        Error::Refused(json!({ "reason": error.reason }).into_payload())
    }
}

/// The error without ` at line 1 column 7`, which tells nothing about a payload, and without the names of Rust's types, which
/// tell nothing to who wrote it.
pub(crate) fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    plain(text.strip_suffix(&position).unwrap_or(&text))
}
