//! What a node says of a plugin.

use serde::{Deserialize, Serialize};

use crate::node::Epoch;

/// What a node says of one plugin. It replaces what it said before: counts are absolute, so a report that comes twice counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// How the preparation of a rollout has ended.
    pub prepared: Option<PreparedReport>,
    /// The generation that serves at the node.
    pub serving: Option<u32>,
    /// The calls that this generation has answered during its probation.
    pub calls: u64,
    /// The counted faults of this generation during its probation.
    pub faults: u32,
    /// Why the node doesn't serve what the cluster serves.
    pub trouble: Option<String>,
}

/// How the preparation of a rollout has ended at a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PreparedReport {
    /// The number of the rollout.
    pub number: u32,
    /// What the build is, or why the node can't load it.
    pub result: Result<LoadedBuild, String>,
}

/// What a node has read from a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LoadedBuild {
    /// The patterns of its topics.
    pub topics: Vec<String>,
    /// Whether it is a gatekeeper.
    pub is_gatekeeper: bool,
}

/// A report with its node, which may be dead: its faults count nevertheless.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeReport {
    /// The plugin.
    pub plugin: String,
    /// The start of the node.
    pub epoch: Epoch,
    /// What it says.
    pub report: Report,
}
