//! The answers of callbacks.

use serde_json::json;

use crate::output::empty;
use crate::{Answer, Decision, Error, IntoPayload, Reply, Stop, check};

/// The result of `handle_in`, `handle_info` and `handle_message`: an answer, or an [`Error`].
pub type Handled = Result<Answer, Error>;

/// The result of `handle_out`. There is no client to answer, so an [`Error`] of either kind is a fault.
pub type Decided = Result<Decision, Error>;

/// The result of `handle_topic_info`. There is no client to answer, so an [`Error`] of either kind is a fault.
pub type Told = Result<(), Error>;

/// The result of `handle_tick`. There is no client to answer, so an [`Error`] of either kind is a fault.
pub type Ticked = Result<(), Error>;

/// The result of `handle_seat`. There is no client to answer, so an [`Error`] of either kind is a fault.
pub type Seated = Result<(), Error>;

/// Replies `ok` with `{}`.
pub fn ok() -> Handled {
    reply(empty())
}

/// Replies `ok` with a response.
pub fn reply(response: impl IntoPayload) -> Handled {
    Ok(Answer::Reply(Reply::ok(response)))
}

/// Replies `error` with a response. The state and the effects are still committed, other than after
/// [`refuse`](crate::refuse).
pub fn reply_error(response: impl IntoPayload) -> Handled {
    Ok(Answer::Reply(Reply::error(response)))
}

/// Replies with another status, of at most 255 bytes. The client listens for it with `receive(status, ..)`.
#[track_caller]
pub fn reply_status(status: &str, response: impl IntoPayload) -> Handled {
    Ok(Answer::Reply(Reply::status(status, response)))
}

/// Sends no answer.
pub fn no_reply() -> Handled {
    Ok(Answer::None)
}

/// Ends the member normally: its client gets `phx_close`. The reason is for `terminate` and the log.
pub fn stop(reason: impl Into<String>) -> Handled {
    Ok(Answer::Stop(Stop { reason: reason.into(), reply: None }))
}

/// Answers the client's message, and then ends the member as [`stop`] does.
pub fn stop_with_reply(reason: impl Into<String>, reply: Reply) -> Handled {
    Ok(Answer::Stop(Stop { reason: reason.into(), reply: Some(reply) }))
}

/// Replies `error` to an unknown event. The reason names the event.
pub fn unknown_event(event: &str) -> Handled {
    reply_error(json!({ "reason": format!("unknown event {event:?}") }))
}

impl Reply {
    /// Returns a reply with the status `ok`.
    pub fn ok(response: impl IntoPayload) -> Self {
        Self::status("ok", response)
    }

    /// Returns a reply with the status `error`.
    pub fn error(response: impl IntoPayload) -> Self {
        Self::status("error", response)
    }

    /// Returns a reply with another status, of at most 255 bytes. A longer one is a fault `trap`.
    #[track_caller]
    pub fn status(status: impl Into<String>, response: impl IntoPayload) -> Self {
        let status = status.into();
        check::name("a status", &status);
        Self { status, payload: response.into_payload() }
    }
}

impl Decision {
    /// Returns the decision that the member gets this payload with the same event name. A JSON payload must be an
    /// object; otherwise it is a fault `trap`.
    #[track_caller]
    pub fn replace(payload: impl IntoPayload) -> Self {
        Self::Replace(check::replacement(payload))
    }
}
