//! Jobs: what is done later. The dispatcher gives those that are due to their topics, and the operator sees and changes them.
//!
//! The rows are in the store, and `store::JobBoard` has them in the order in which they are due. A job's row ends in the
//! transaction of its callback (`channel/topic_call.rs`).

mod cron;
mod dispatcher;
mod starts;
mod view;

pub use cron::{CronError, CronLine};
pub use dispatcher::{Dispatcher, RUNNING_MAX, RUNNING_MAX_OF_PLUGIN};
pub use starts::tell_starts;
pub use view::{JobCounts, JobState, JobView, Jobs, LISTED_MAX, NotChanged, job_id};
