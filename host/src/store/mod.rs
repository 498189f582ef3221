//! Storage: a map from ordered keys to bytes for each plugin, and the durable rooms.
//!
//! ```text
//! call ──► Draft ──► commit ──► queue ──► Committer ──► Engine      one sync for all waiting drafts
//!            ▲                               │
//!            └── snapshot, revision ◄────────┘ publishes
//! ```
//!
//! A call works on a [`Draft`]. It reads a snapshot from the moment it began, with its own writes laid over, and records
//! which keys it has read (its footprint). [`Store::commit`] queues the draft for the committer. The committer takes all
//! waiting drafts and refuses those with a conflict or over their quota. It applies the rest as one batch, and answers when
//! the batch is synced. So calls wait for each other only at the sync, a call is never visible in part, and acknowledged
//! writes survive a crash.
//!
//! The [`Engine`] is a trait with a few methods. [`Logged`] stores a batch as a record of a log, keeps its rows in memory, and
//! writes the rows of many batches to the tree (`embedded`) at once. [`Memory`] stores nothing on disk. All plugins share one
//! keyspace of the engine. Each plugin has its own part of it (see `space`).
//!
//! The nodes of a cluster share a store. Then there is a ledger (see `ledger`) in place of the engine: it decides about conflicts itself, because
//! no node knows what the others write.

mod backing;
mod batch;
mod beside;
mod check;
mod committer;
mod counts;
mod delivery_board;
mod delivery_rows;
mod directory;
mod draft;
mod embedded;
mod engine;
mod entry_formers;
mod entry_rows;
mod entry_sums;
mod export;
mod export_line;
mod export_reader;
mod export_stream;
mod footprint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handle;
mod health;
mod ids;
mod import;
mod job_board;
mod job_rows;
mod ledger;
mod ledger_committer;
mod ledger_queue;
mod log;
mod logged;
mod memory;
mod metadata;
mod overlay;
mod place;
mod postgres;
mod probe;
mod read_only;
mod reading;
mod recent;
mod rename;
mod request_rows;
mod restore;
mod revision;
mod scan;
mod space;
mod stored_rows;
mod sweep;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod versions;

pub use backing::PageReads;
pub use batch::CommitError;
pub use bennu_semantics::limits::{Oversize, QUOTA_BYTES, StoreLimits};
pub use check::{CheckedFiles, check_files};
pub use counts::{BATCH_BOUNDS, StoreCounts};
pub use delivery_board::DeliveryBoard;
pub use delivery_rows::DeliveryChange;
pub use directory::{DirectoryLock, InUse, absolute, claim_directory, has_store, is_free, open_to_others};
pub use draft::{Draft, PausedDraft, ReadError};
pub use embedded::OpeningError;
pub use engine::{Direction, Engine, EngineError, EngineFuture, Row, Rows, ScanLimit, Snapshot, Span, Writes};
pub use entry_rows::EntryRows;
pub use entry_sums::StoredSums;
pub use export::{Exported, Exporter};
pub use export_reader::{Checked, ExportReader};
pub use export_stream::Exporting;
pub use handle::Store;
pub use health::Trouble;
pub use import::{Existing, Imported};
pub use job_board::JobBoard;
pub use job_rows::StoredJob;
pub use log::LogCounts;
pub use logged::{LogLimits, Logged};
pub use memory::Memory;
pub use place::StorePlace;
pub use postgres::{Postgres, PostgresCounts, PostgresPlace, SCHEMA as POSTGRES_SCHEMA};
pub use rename::Renamed;
pub use restore::RestoreStep;
pub use revision::Revision;
pub use scan::{Page, Scan};
pub use space::Owner;
pub use stored_rows::{RowPage, RowSet, TopicBytes, TopicPage};
