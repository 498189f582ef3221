//! Errors of a callback: the client's mistake and the plugin's failure are different variants.

use std::fmt;

use serde_json::json;

use crate::plain::plain;
use crate::{IntoPayload, Payload};

/// The result of a join: the member's state, or an [`Error`].
pub type Join<C> = Result<C, Error>;

/// Why a callback ended early.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The client's mistake. A join is refused with this response. An event is answered with an `error` reply, and nothing
    /// else of the callback happens: its effects and its changes of states, entries and the store are discarded.
    Refused(Payload),
    /// The plugin's failure, with a text for the log. It is a fault `failed`: nothing of the callback happens, and the
    /// member ends, unless the channel has [`OnFault::Keep`](crate::OnFault::Keep).
    Failed(String),
}

/// Refuses a join, or answers an event with an `error` reply. Nothing else of the callback happens: effects that it has asked
/// for before are discarded too. To reply `error` and keep them, return [`reply_error`](crate::reply_error).
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
///
/// # Errors
///
/// Always returns [`Error::Refused`].
pub fn refuse<T>(response: impl IntoPayload) -> Result<T, Error> {
    Err(Error::Refused(response.into_payload()))
}

/// Ends the callback with a fault `failed`. The text is for the log.
///
/// # Errors
///
/// Always returns [`Error::Failed`].
pub fn fail<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Failed(why.into()))
}

/// A payload isn't what the plugin expected. The displayed text names the field and the expected type:
/// `body: missing, expected a string`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadError {
    reason: String,
}

impl PayloadError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// Describes what is wrong with `what`, which is a field or the payload.
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

/// An invalid payload is the client's mistake.
impl From<PayloadError> for Error {
    fn from(error: PayloadError) -> Self {
        Error::Refused(json!({ "reason": error.reason }).into_payload())
    }
}

/// Returns the error's text without ` at line 1 column 7`, which doesn't help with a payload, and without the names of
/// Rust types, which don't help the author of the payload.
pub(crate) fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    plain(text.strip_suffix(&position).unwrap_or(&text))
}
