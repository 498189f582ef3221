//! Which behaviour serves a topic: an immutable table that is replaced as a whole.
//!
//! Each call looks the topic up in the table, so a reload needs no notification: the next call finds the new
//! generation. Only the plugin library publishes a table.

mod gatekeepers;
mod placement;
mod probation;
mod table;

pub use bennu_semantics::{HistorySpec, ManifestError, OnFault, RoomKind, RouteSpec, Turns};
pub use gatekeepers::{GatekeeperChoice, Gatekeepers, NamedGatekeeper};
pub use placement::{Misplaced, Placement};
pub use probation::{Probation, ProbationResult, ProbationTerms};
pub use table::{Conflict, Route, RouteTable, Routes, Takes};
