//! Jobs: what a callback asks the host to do later, and what the host keeps until it is done.
//!
//! A job is a row of the store ([`JobRow`]) under its [`JobId`]. The callback's own transaction writes the row, so the job
//! exists exactly if the callback was committed. The [`Agenda`] says which jobs are due. [`JobRow::failed`] is the only
//! place that decides when a job is tried again, and when it is given up.

mod agenda;
mod id;
mod row;
mod schedule;
mod tally;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use agenda::{Agenda, JobUsage, Phase, Slot};
pub use id::{JobId, JobKind};
pub use row::{JobRow, TRIES_MAX, retry_delay};
pub use schedule::Schedule;
pub use tally::{JobTally, JobsFull};
