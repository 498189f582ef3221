//! Presence: for each topic, a list of its online keys that all nodes agree on, and the diffs by which clients follow
//! the list.
//!
//! ```text
//! track, update, untrack, leave ──► State ──► Diff ──► Window ──► pubsub.broadcast("presence_diff")
//!                                     │ ▲
//!                               Delta ▼ │ merge
//!                                 other nodes
//! ```
//!
//! [`State`] is a value: an add-wins set of entries. Each entry is identified by its dot: the replica that wrote it and
//! that replica's clock. A replica's writes reach the others as a [`Delta`], or as a part of the full state, in any
//! order and any number of times. Every change of the visible entries is a [`Diff`] of its topic. A [`Window`] decides
//! when a diff is sent: alone and at once, or merged with others a little later. [`Presence`] holds all of these behind
//! locks.
//!
//! The payloads have the form that phoenix.js's `Presence` reads. Metas are opaque texts, to which the refs are added.

mod delta;
mod delta_receiver;
mod diff;
mod entry;
mod replica;
mod seen;
mod shard;
mod share;
mod share_parts;
mod state;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tracker;
mod view;
mod window;

pub use bennu_semantics::limits::Pace;
pub use delta::{Delta, DeltaError};
pub use delta_receiver::DeltaReceiver;
pub use diff::{Diff, Diffs};
pub use entry::PresenceEntry;
pub use replica::Replica;
pub use seen::Seen;
pub use share::Share;
pub use share_parts::{ShareEnd, ShareParts};
pub use state::{Change, PresenceError, State};
pub use tracker::Presence;
pub use window::{Offer, Window};
