//! How often presence diffs are sent to a topic.

use std::time::Duration;

/// How many diffs are sent to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The number of diffs that are sent alone within a window. Default 8.
    pub burst: u32,
    /// The length of a window. If it is zero, every diff is sent alone. Default 100 ms.
    pub window: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { burst: 8, window: Duration::from_millis(100) }
    }
}
