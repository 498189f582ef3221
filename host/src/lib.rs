//! Bennu, a channel server: clients speak the Phoenix Channels protocol, and channel logic is a WebAssembly component.
//!
//! ```text
//! transport ── socket ── channel ──(routes)── plugin
//!     │           │         │  commit            │ wasm
//!     └───────────┴── pubsub ┘                contract
//! ```
//!
//! `transport` reads a frame, `protocol` decodes it, and `socket` decides what it means for the connection. A message for a
//! channel becomes a turn in `channel`: `routes` says which behaviour serves the topic, `plugin` runs the callback, and
//! `channel` commits the outcome. A commit persists the writes in `store`, then updates the state, then carries out the
//! effects, then sends the answer. `pubsub` puts a broadcast into every subscriber's outbox, which `transport` writes.

// The denied macros panic if a write fails, and a failed write to the log or a terminal must not end the host.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod api;
pub mod auth;
pub mod channel;
pub mod clients;
pub mod cluster;
pub mod contract;
pub mod counts;
pub mod dashboard;
pub mod deliveries;
pub mod entries;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod handover;
pub mod health;
pub mod jobs;
pub mod kit;
pub mod parcel;
pub mod plugin;
pub mod presence;
pub mod project;
pub mod protocol;
pub mod pubsub;
pub mod rollout;
pub mod routes;
pub mod server;
pub mod socket;
pub mod store;
pub mod terminal;
pub mod timing;
pub mod transport;
pub mod webhooks;
