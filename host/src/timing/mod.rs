//! Deadlines that count only the time in which this host ran, and the priority of its threads.
//!
//! A host may be suspended: by SIGSTOP, in a paused container, or in a virtual machine that is moved. When it resumes,
//! its timers have expired, but the messages that its peers sent meanwhile are unread, and some may still be in
//! transit. A deadline for a peer must not count such a gap. The host must read these messages before it decides that
//! the peer is too late.

mod awake;
mod deadline;
mod priority;

pub use awake::AwakeClock;
pub use deadline::{AwakeDeadline, AwakeSleep, sleep, within};
pub use priority::give_way;

use std::time::Duration;

/// A timer that fires later than this shows that the host was suspended. A host that is only busy is never that late.
const LATE: Duration = Duration::from_millis(100);
