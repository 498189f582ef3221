//! Messages that are numbered, repeated if they were missed, and called lost if they can't be repeated.
//!
//! The bus may lose what it was given. So each batch has a number for its lane. Who finds a gap in the numbers of a sender, or hears in
//! its heartbeat of batches that didn't come, asks it to repeat them. The sender keeps what it has sent in a ring, bounded in bytes and
//! age. A heartbeat also says how far back the ring goes: what is older is lost.
//!
//! Both halves are pure: `now` is a parameter, and what is to be sent or told is returned. The order of messages of two lanes of one
//! sender isn't kept.

mod incoming;
mod outgoing;
mod receiving;
mod sender;
mod sending;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use incoming::{Ask, Incoming, IncomingEvent};
pub use outgoing::{Next, Outgoing};

/// How often a heartbeat is sent.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// What a kept message or batch takes beside its own bytes, rounded up. It is counted, so that empty messages are bounded too.
const KEPT_BYTES: usize = 64;
