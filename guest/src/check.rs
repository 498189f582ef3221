//! Checks of an effect before the host is asked for it. A panic here has the place of the plugin's call; a fault of the host has not.
//!
//! Only what the contract fixes is checked: limits that an operator can set, and everything that depends on the host, are the host's to
//! check. Each check looks at a length or at the first character, so it takes the same time for payloads of any size.

use std::time::Duration;

use serde::Serialize;

use crate::output::as_json;
use crate::{IntoPayload, Payload, Reply};

/// The maximum length of a name, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The longest grace period of a seat: a day.
const GRACE_MS_MAX: u32 = 24 * 60 * 60 * 1000;

/// The host's words for a payload that clients can't get.
const NO_OBJECT: &str = "the payload of a push or broadcast must be a JSON object or binary";

/// Ends the callback.
#[cold]
#[track_caller]
fn refuse(why: &str) -> ! {
    #[cfg(not(target_family = "wasm"))]
    crate::testing::recorder::refuse(why);
    #[cfg(target_family = "wasm")]
    panic!("{why}");
}

/// Checks the length of a name, such as that of an event.
#[track_caller]
pub(crate) fn name<'n>(what: &str, name: &'n str) -> &'n str {
    if name.len() > NAME_BYTES_MAX {
        refuse(&format!("{what} has at most {NAME_BYTES_MAX} bytes, not {}", name.len()));
    }
    name
}

/// Makes the payload of an event to clients: a JSON object, or bytes.
#[track_caller]
pub(crate) fn event(event: &str, payload: impl IntoPayload) -> Payload {
    let payload = message(event, payload);
    if !is_object(&payload) {
        refuse(&format!("event `{event}`: {NO_OBJECT}"));
    }
    payload
}

/// Makes the payload of an event to a callback: any JSON value, or bytes.
#[track_caller]
pub(crate) fn message(event: &str, payload: impl IntoPayload) -> Payload {
    name("an event", event);
    payload.into_payload()
}

/// Makes a payload that replaces that of an event to clients.
#[track_caller]
pub(crate) fn replacement(payload: impl IntoPayload) -> Payload {
    let payload = payload.into_payload();
    if !is_object(&payload) {
        refuse(NO_OBJECT);
    }
    payload
}

/// Makes the text of a JSON object.
#[track_caller]
pub(crate) fn object(what: &str, value: &impl Serialize) -> String {
    let text = as_json(value);
    if !begins_object(&text) {
        refuse(&format!("{what} is a JSON object, and not {}", kind(&text)));
    }
    text
}

/// Checks the status of a reply.
#[track_caller]
pub(crate) fn reply(reply: &Reply) -> &Reply {
    name("a status", &reply.status);
    reply
}

/// Returns the milliseconds of a grace period.
#[track_caller]
pub(crate) fn grace(grace: Duration) -> u32 {
    match u32::try_from(grace.as_millis()) {
        Ok(milliseconds) if milliseconds <= GRACE_MS_MAX => milliseconds,
        _ => refuse("a seat is kept for at most a day"),
    }
}

fn is_object(payload: &Payload) -> bool {
    match payload {
        Payload::Json(text) => begins_object(text),
        Payload::Binary(_) => true,
    }
}

fn begins_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

/// Names the kind of a JSON value that isn't an object.
fn kind(json: &str) -> &'static str {
    match json.trim_ascii_start().as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SDK must not refuse what the host accepts.
    #[test]
    fn the_limits_are_the_hosts() {
        assert_eq!(NAME_BYTES_MAX, bennu_semantics::NAME_BYTES_MAX);
        assert_eq!(GRACE_MS_MAX, bennu_semantics::GRACE_MS_MAX);
    }

    #[test]
    fn values_are_named_by_their_kind() {
        let kinds = ["[1]", "\"a\"", "true", "false", "null", " -1"].map(kind);
        assert_eq!(kinds, ["an array", "a string", "a boolean", "a boolean", "null", "a number"]);
        assert!(begins_object(" \n{}") && !begins_object("") && !begins_object("[{}]"));
    }
}
