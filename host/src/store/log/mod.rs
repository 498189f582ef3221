//! The log in front of the tree: files with a record for each batch, the tables with their rows, and checkpoints.
//! [`Logged`](super::logged::Logged) combines these parts.

mod checkpoint;
mod counts;
mod files;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod record;
mod replay;
mod table;
mod view;

pub(super) use checkpoint::{Checkpointer, SharedTable};
pub use counts::LogCounts;
pub(super) use files::{LOG_FILES, LogFiles, LogOpener, Opening};
pub(super) use record::{LogRow, Mark, encode, length, rows};
pub(super) use replay::replay;
pub(super) use table::ROW;
pub(super) use view::{Layer, LayeredView};
