//! Deadlines that count only the time in which this host ran.
//!
//! A host may stand still: SIGSTOP, a paused container, a virtual machine that moves. When it goes on, its timers have expired, but
//! what its peers sent meanwhile lies unread, and may even be on its way still. A deadline that is about a peer must not count such
//! a gap, and what has come must be read before the peer is judged.

mod awake;
mod deadline;

pub use awake::AwakeClock;
pub use deadline::{AwakeDeadline, sleep, within};

use std::time::Duration;

/// A timer that fires so much too late shows that the host stood still. It is far more than a host that is merely busy takes.
const LATE: Duration = Duration::from_millis(100);
