//! The parameters of the effect that schedules a message.

use bytestring::ByteString;
use serde::Deserialize;

use crate::{Payload, Topic};

/// A message to a topic's `handle_topic_info`, at a time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The topic.
    pub topic: Topic,
    /// When it is due, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its key. A schedule replaces an earlier one with the same topic and key.
    pub key: Box<str>,
    /// The event.
    pub event: ByteString,
    /// Its payload: any JSON value, or bytes.
    #[serde(default)]
    pub payload: Payload,
}
