//! The engine on PostgreSQL: one table of rows, written by one host.
//!
//! ```text
//! batch ──► window (values before and after) ──► commit_batch(epoch, number, rows)     one statement, one transaction
//! read  ──► window ──► otherwise a SELECT, and what was written since the snapshot is taken from the window
//! ```
//!
//! No snapshot holds a transaction of the database open. A snapshot is the number of a batch, as in the engines of a data
//! directory. A read asks the database for the rows as they are now. The [`window`] has each value that was replaced since the
//! oldest snapshot, so the read returns the rows as they were. So a read can be repeated on another connection, and a lost
//! connection ends no call. This needs all writes to go through this process. The database guards that: the host holds a lock
//! of a session, and every batch carries the host's epoch (see [`writer`]).
//!
//! A batch has a number. If its answer is lost, the engine asks the database for the outcome by that number, or lets the
//! database refuse the number from then on. So a batch is never stored twice, and never reported as failed although it is stored.

mod cluster;
mod connection;
mod engine;
mod errors;
mod ledger;
mod ledger_moment;
mod ledger_rows;
mod ledger_view;
mod ledger_writers;
mod opening;
mod place;
mod readers;
mod schema;
mod self_test;
mod statements;
mod tls;
mod view;
mod window;
mod writer;

pub(super) use ledger::PostgresLedger;

pub use engine::{Counts as PostgresCounts, Postgres};
pub use place::{PostgresPlace, SCHEMA};
