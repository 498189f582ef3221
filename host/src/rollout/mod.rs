//! The plugins of a node of a cluster: what the node does so that it serves the builds that the cluster's records name.
//!
//! ```text
//! library ── files, commands ──► Rollouts ──► Registry (database)
//!    ▲                              │ ▲           │
//!    └── load, serve, withdraw ─────┘ └── records, reports of all nodes
//! ```
//!
//! The rules are in `bennu_cluster::rollout`, and are pure. [`Rollouts`] is the task around them: it reads the records every two
//! seconds, and whenever another node says that they have changed. The message is a hint only; the records decide.

mod commands;
mod convert;
mod driver;
mod following;
mod local;
mod offers;
mod showing;
mod unread;
mod waiting;

pub use driver::{Rollouts, RolloutsStarted};
