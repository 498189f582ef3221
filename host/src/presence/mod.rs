//! Who is online: for each topic a list that all nodes agree on, and the diffs by which clients follow it.
//!
//! ```text
//! track, update, untrack, leave ──► State ──► Diff ──► Window ──► pubsub.broadcast("presence_diff")
//!                                     │ ▲
//!                               Delta ▼ │ merge
//!                                 other nodes
//! ```
//!
//! [`State`] is a value: an add-wins set of entries, each known by its dot, that is by the replica that wrote it and that
//! replica's clock. What one replica does reaches the others as a [`Delta`], or as a part of the full state, in any order
//! and any number of times. Every change of what is seen is a [`Diff`] of its topic. A [`Window`] decides when a diff goes
//! out: alone and at once, or joined with others a little later. [`Presence`] holds all that behind locks.
//!
//! The shapes are those that phoenix.js's `Presence` reads. Metas stay opaque texts, into which the refs are spliced.

mod delta;
mod diff;
mod entry;
mod replica;
mod seen;
mod shard;
mod share;
mod state;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tracker;
mod view;
mod window;

pub use delta::{Delta, DeltaError};
pub use diff::{Diff, Diffs};
pub use entry::PresenceEntry;
pub use replica::Replica;
pub use seen::Seen;
pub use share::Share;
pub use state::{Change, PresenceError, State};
pub use tracker::Presence;
pub use window::{Offer, Pace, Window};
