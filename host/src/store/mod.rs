//! Storage: ordered keys to bytes, for each plugin its own, and durable rooms beside them.
//!
//! ```text
//! call ──► Draft ──► commit ──► queue ──► Committer ──► Engine      one sync for all that waits
//!            ▲                               │
//!            └── snapshot, revision ◄────────┘ publishes
//! ```
//!
//! A call works on a [`Draft`]: it reads the store as it was when it began, sees its own writes, and leaves a footprint of
//! what it read. [`Store::commit`] puts it before the one who writes, who takes all that waits, refuses what was overtaken
//! or is over its quota, applies the rest as one batch, and answers when that is synced. So calls never wait for each other
//! but at the sync, nobody ever sees half of a call, and what was answered survives.
//!
//! The [`Engine`] is a trait of a few methods: [`Embedded`] is redb in one file, [`Memory`] keeps nothing. All plugins share
//! one keyspace of it, in which each has its space.

mod backing;
mod batch;
mod committer;
mod directory;
mod draft;
mod embedded;
mod engine;
mod export;
mod export_line;
mod footprint;
mod handle;
mod health;
mod ids;
mod import;
mod limits;
mod memory;
mod metadata;
mod overlay;
mod probe;
mod reading;
mod recent;
mod rename;
mod scan;
mod space;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use batch::CommitError;
pub use directory::{absolute, open_to_others};
pub use draft::{Draft, ReadError, Revision};
pub use embedded::{Embedded, OpeningError};
pub use engine::{Direction, Engine, EngineError, EngineFuture, Row, Rows, ScanLimit, Snapshot, Span, Writes};
pub use export::Exported;
pub use handle::Store;
pub use health::Trouble;
pub use import::{Existing, Imported};
pub use limits::{Oversize, QUOTA_BYTES, StoreLimits};
pub use memory::Memory;
pub use rename::Renamed;
pub use scan::{Page, Scan};
pub use space::Owner;
