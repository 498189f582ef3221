//! Which behaviour serves a topic: an immutable table, swapped whole.
//!
//! The table is asked at every call, so a reload needs no notice: the next call finds the new generation. Who publishes a
//! table is the plugins' loader, and nobody else.

mod gatekeepers;
mod manifest;
mod probation;
mod table;

pub use gatekeepers::{GatekeeperChoice, Gatekeepers, NamedGatekeeper};
pub use manifest::{ManifestError, OnFault, RoomKind, RouteSpec, Turns};
pub use probation::{Probation, ProbationResult, ProbationTerms};
pub use table::{Conflict, Route, RouteTable, Routes, Takes};
