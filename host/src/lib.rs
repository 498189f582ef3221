//! Bennu, a channel server: the Phoenix Channels protocol outside, WebAssembly components inside.
//!
//! ```text
//! transport ── socket ── channel ──(routes)── plugin
//!     │           │         │  commit            │ wasm
//!     └───────────┴── pubsub ┘                contract
//! ```
//!
//! A frame comes in at `transport`, is decoded by `protocol`, and `socket` decides what it means for the connection. What
//! belongs to a channel becomes a turn in `channel`: `routes` says which behaviour serves the topic, `plugin` runs it, and
//! its outcome is committed: state first, then effects, then the answer. `pubsub` takes what is for many and hands it to
//! every subscriber's outbox, which `transport` writes. `store` keeps what plugins write down, with the commit.

// The banned macros panic where a write fails, and neither a log nor a terminal may end a host.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod api;
pub mod auth;
pub mod channel;
pub mod contract;
pub mod files;
pub mod kit;
pub mod plugin;
pub mod presence;
pub mod protocol;
pub mod pubsub;
pub mod routes;
pub mod server;
pub mod socket;
pub mod store;
pub mod timing;
pub mod transport;
