//! The plugins of a cluster: which build of each plugin serves at all nodes, and how another one replaces it.
//!
//! ```text
//!  a file, an operator ──► offer, roll_back, unload ─┐
//!                                                    ├──► RecordsChange ──► Registry: records of plugins, with a revision
//!  reports of all nodes ──► decide ──────────────────┘              │
//!        ▲                                                          ▼
//!        └─── the node loads and serves builds ◄── next_step ◄── records
//! ```
//!
//! The records decide, and nobody leads. Each node reads them, does what [`next_step`] says, and reports. Each node also calls [`decide`],
//! and writes the result if nobody else has written since it read: the records have one revision. So a step is done once, by whichever node
//! is first, and the death of a node ends nothing.
//!
//! All of this is pure. Times are those that the caller gives. No two clocks are compared: how long something lasts, each node measures
//! from when it has first seen it.

mod conflict;
mod decision;
mod digest;
mod local;
mod record;
mod registry;
mod report;
mod request;
mod seen_since;

pub use conflict::TopicConflict;
pub use decision::{Decision, DecisionEvent, Facts, PREPARED_WITHIN, decide, probation_counts};
pub use digest::{BuildDigest, NotADigest};
pub use local::{BuildToLoad, LoadState, LocalPlugin, LocalStep, ServeStep, next_step};
pub use record::{
    Build, BuildPhase, EndedProbation, OpenProbation, Outcome, OutcomeResult, PluginRecord, Purpose, RecordedTerms,
    Records, Rejection, Rollout, ServingBuild,
};
pub use registry::memory::MemoryRegistry;
pub use registry::{
    BUILD_BYTES_MAX, ChangeResult, LivingNode, RecordsChange, Registry, RegistryError, RegistryFuture,
    RegistrySnapshot, UnreadableRow,
};
pub use report::{LoadedBuild, NodeReport, PreparedReport, Report};
pub use request::{Offer, OfferResult, PLUGINS_MAX, RollbackResult, offer, roll_back, unload};
pub use seen_since::{SeenFact, SeenSince};
