//! The answers of a callback.

use serde_json::json;

use crate::output::empty;
use crate::{Answer, Decision, Error, IntoPayload, Reply, Stop};

/// What `handle_in` and `handle_info` give: an answer, or an [`Error`].
pub type Handled = Result<Answer, Error>;

/// What `handle_out` gives. There is no client to answer here: an [`Error`] of either kind is a fault.
pub type Decided = Result<Decision, Error>;

/// What `handle_tick` gives. There is nobody to answer: an [`Error`] of either kind is a fault.
pub type Ticked = Result<(), Error>;

/// What `handle_seat` gives. As for [`Ticked`].
pub type Seated = Result<(), Error>;

/// Replies `ok` with `{}`.
pub fn ok() -> Handled {
    reply(empty())
}

/// Replies `ok`.
pub fn reply(response: impl IntoPayload) -> Handled {
    Ok(Answer::Reply(Reply::ok(response)))
}

/// Replies `error`.
pub fn reply_error(response: impl IntoPayload) -> Handled {
    Ok(Answer::Reply(Reply::error(response)))
}

/// Replies with another status word, which the client listens for by `receive(status, ..)`.
pub fn reply_status(status: &str, response: impl IntoPayload) -> Handled {
    Ok(Answer::Reply(Reply::status(status, response)))
}

/// Gives no answer.
pub fn no_reply() -> Handled {
    Ok(Answer::None)
}

/// Ends the member in an orderly way, which its client sees as `phx_close`. The reason is for `terminate` and the log.
pub fn stop(reason: impl Into<String>) -> Handled {
    Ok(Answer::Stop(Stop { reason: reason.into(), reply: None }))
}

/// Ends the member, and answers the message at hand first.
pub fn stop_with_reply(reason: impl Into<String>, reply: Reply) -> Handled {
    Ok(Answer::Stop(Stop { reason: reason.into(), reply: Some(reply) }))
}

/// Replies `error` to an event that the channel doesn't know.
pub fn unknown_event(event: &str) -> Handled {
    reply_error(json!({ "reason": format!("unknown event {event:?}") }))
}

impl Reply {
    /// A reply `ok`.
    pub fn ok(response: impl IntoPayload) -> Self {
        Self::status("ok", response)
    }

    /// A reply `error`.
    pub fn error(response: impl IntoPayload) -> Self {
        Self::status("error", response)
    }

    /// A reply with another status word.
    pub fn status(status: impl Into<String>, response: impl IntoPayload) -> Self {
        Self { status: status.into(), payload: response.into_payload() }
    }
}

impl Decision {
    /// The member gets this payload under the same event.
    pub fn replace(payload: impl IntoPayload) -> Self {
        Self::Replace(payload.into_payload())
    }
}
