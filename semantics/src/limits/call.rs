//! The limits of one call.

use std::fmt;
use std::time::Duration;

use super::EntryLimits;

/// The limits of a call. If a call exceeds one, it ends in a fault and has no effects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// CPU time. Fault: deadline.
    pub cpu: Duration,
    /// CPU time of the evaluation of a script, in a new instance. Fault: deadline.
    pub init_cpu: Duration,
    /// Wall time, with the wait for an instance. Fault: deadline.
    pub wall: Duration,
    /// Linear memory of an instance. Fault: memory.
    pub memory_bytes: usize,
    /// A member's state. Fault: oversize.
    pub assigns_bytes: usize,
    /// A topic's shared state. Fault: oversize.
    pub room_bytes: usize,
    /// Effects of a call. Fault: oversize.
    pub effects: usize,
    /// Bytes of those effects and of the answer. Fault: oversize.
    pub effect_bytes: usize,
    /// Pending timers of a member. Fault: oversize.
    pub timers: usize,
    /// The shortest time of a timer or a tick. Fault: oversize.
    pub timer_shortest: Duration,
    /// Presences of a member. Fault: oversize.
    pub presences: usize,
    /// Bytes of a presence's meta. Fault: oversize.
    pub presence_bytes: usize,
    /// Further topics to which a member is subscribed. Fault: oversize.
    pub subscriptions: usize,
    /// Lines that a call may log. Fault: oversize.
    pub log_lines: usize,
    /// Answers by HTTP for which a call waits. Fault: oversize.
    pub http_gets: usize,
    /// Entries.
    pub entries: EntryLimits,
}

/// The key that sets a limit, with its value: the end of an error text.
pub fn limit_key(name: &str, limit: impl fmt::Display) -> String {
    format!(" (`limits.{name} = {limit}`)")
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_millis(2000),
            init_cpu: Duration::from_millis(500),
            wall: Duration::from_secs(5),
            memory_bytes: 64 << 20,
            assigns_bytes: 16 << 10,
            room_bytes: 1 << 20,
            effects: 1024,
            effect_bytes: 4 << 20,
            timers: 16,
            timer_shortest: Duration::from_millis(10),
            presences: 16,
            presence_bytes: 4 << 10,
            subscriptions: 64,
            log_lines: 256,
            http_gets: 8,
            entries: EntryLimits::default(),
        }
    }
}
