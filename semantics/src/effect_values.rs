//! Checks of values that an effect has: names, refs, durations.

use std::time::Duration;

use bytestring::ByteString;

use crate::limits::keys;
use crate::record::{Record, check_name};
use crate::{Fault, NAME_BYTES_MAX, Payload, PublishedState, Topic, limit_key};

pub(crate) fn check_state(record: &Record, state: &mut PublishedState) -> Result<(), Fault> {
    // Before the text is parsed, so that a call can't make the host parse more than its limit.
    record.check_bytes(state.text().len())?;
    let parsed = state.parse();
    parsed.map(drop).map_err(|error| Fault::failed(format!("a published state is a JSON object: {error}")))
}

/// Checks an event for clients in a topic.
pub(crate) fn check_event_for(record: &Record, topic: &Topic, (event, payload): (&str, &Payload)) -> Result<(), Fault> {
    check_name("a topic", topic.as_str())?;
    record.check_event(event, payload)
}

/// Checks an event for a callback in a topic.
pub(crate) fn check_own_for(record: &Record, topic: &Topic, (event, payload): (&str, &Payload)) -> Result<(), Fault> {
    check_name("a topic", topic.as_str())?;
    record.check_own(event, payload)
}

/// Checks the names of a schedule.
///
/// # Errors
/// Fault: oversize.
pub fn check_schedule(topic: &Topic, key: &str) -> Result<(), Fault> {
    check_name("a topic", topic.as_str())?;
    check_name("the key of a schedule", key)
}

pub(crate) fn check_droppable_key(key: &str) -> Result<(), Fault> {
    check_name("the key of a droppable message", key)
}

/// The ref is copied into a frame, so it must be JSON.
pub(crate) fn check_ref(reply_ref: &ByteString) -> Result<(), Fault> {
    if reply_ref.len() > NAME_BYTES_MAX || Payload::Json(reply_ref.clone()).check_value().is_err() {
        return Err(Fault::failed("a reply-ref must be passed back as it came with handle-in; this isn't one"));
    }
    Ok(())
}

pub(crate) fn check_delay(delay: Duration, shortest: Duration) -> Result<(), Fault> {
    if delay < shortest {
        let shortest = shortest.as_millis();
        let key = limit_key(keys::TIMER_SHORTEST_MS, shortest);
        return Err(Fault::oversize(format!(
            "a timer takes at least {shortest} ms{key}; use send-self to send at once"
        )));
    }
    Ok(())
}

pub(crate) fn check_period(period: Duration, shortest: Duration) -> Result<(), Fault> {
    if !period.is_zero() && period < shortest {
        let shortest = shortest.as_millis();
        let key = limit_key(keys::TIMER_SHORTEST_MS, shortest);
        return Err(Fault::oversize(format!("a topic's tick period is at least {shortest} ms{key}")));
    }
    Ok(())
}
