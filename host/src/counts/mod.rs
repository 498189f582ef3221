//! Counts that any part of the host adds to, and that a scrape of the metrics reads.
//!
//! They are static, because a process has one host, and because a count must cost less than a path to it. A count of what
//! happens with each message is in [`Traffic`]: each thread has its own numbers, so that no two threads write to one cache
//! line. All other counts are for what is rare, and are plain atomics.

mod high_water;
mod histogram;
mod limit;
mod line_rate;
mod moment;
mod process;
mod rare;
mod traffic;

pub use high_water::HighWater;
pub use histogram::{Histogram, HistogramCounts};
pub use limit::Limit;
pub use line_rate::LineRate;
pub use moment::Moment;
pub use process::ProcessUse;
pub use rare::Rare;
pub use traffic::Traffic;
