//! The entries of a topic: an ordered map from keys to values, next to the value of the topic's room.
//!
//! - The [`EntryTable`] has the entries that are in memory: all of a memory room, or a part of a durable room's. It knows
//!   which keys it would have to read from the store.
//! - An [`Overlay`] has the writes of one call, and checks them against the [`EntryRules`]. A call reads through it.
//! - When the call is committed, its [`EntryChanges`] are applied to the table.
//! - A [`Journal`] has the entries from before a rollback point. A rollback restores them.
//! - A route can publish entries: the members get the [`WholeText`] of them, and then each [`PublishedChange`], by their
//!   [`Views`]. [`MissedChanges`] keeps the changes that a slow client has missed.
//!
//! Nothing here reads the store. If an operation needs a part of the store, its [`Progress`] says which.

mod bound;
mod change;
mod change_map;
mod dirty;
mod evict;
mod fill;
mod followed;
mod journal;
mod key;
mod merge;
mod missed;
mod overlay;
mod packed;
mod packed_list;
mod page;
mod pages;
mod published;
mod publishing;
mod read;
mod rules;
mod scan;
mod shown;
mod slot;
mod stale;
mod sums;
mod table;
mod tally;
mod views;
mod walk;
mod writes;

#[cfg(test)]
mod tests;

pub use change::{AppliedChange, ChangeKind, EntryChange, EntryChanges, OldEntry};
pub use dirty::DirtyEntry;
pub use evict::Evicted;
pub use fill::StoredEntry;
pub use followed::Followed;
pub use journal::{FormerEntry, Journal};
pub use key::KeyRange;
pub use missed::{MissedChanges, OldValues};
pub use overlay::Overlay;
pub use packed::Packed;
pub use packed_list::{PackedEntries, PackedKeys, pack_entry, pack_value};
pub use published::{PublishedChange, WholeText, object_of};
pub use publishing::Publishing;
pub use read::{Order, Progress, RangeRead, StoreRead};
pub use rules::EntryRules;
pub use scan::{EntryList, EntryScan};
pub use shown::{Behind, CatchUp, Shown};
pub use slot::Stamp;
pub use stale::{StaleEntry, StaleScan};
pub use sums::EntrySums;
pub use table::{EntryTable, Found, TableBytes};
pub use views::{ALL, ViewChange, ViewId, Views};
pub use writes::EntryDeletion;
