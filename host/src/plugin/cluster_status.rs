//! What operators see of a plugin in a cluster.

use serde::Serialize;

use super::PluginPhase;

/// A plugin in the whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterPluginStatus {
    /// The build that serves at all nodes. None if none does.
    pub serving: Option<ServingStatus>,
    /// The rollout that is being prepared.
    pub rollout: Option<RolloutStatus>,
    /// Why the last rollout was refused. None if another build was rolled out since.
    pub last_refusal: Option<String>,
    /// The digests of the builds that were rolled back automatically.
    pub rejected: Vec<String>,
    /// The living nodes.
    pub nodes: Vec<NodePluginStatus>,
    /// Why this node doesn't serve what the cluster serves: its record can't be read, or the build can't be loaded. The second one is also
    /// in this node's entry of `nodes`, once the others have heard of it.
    #[serde(skip)]
    pub trouble: Option<String>,
}

/// The build that serves in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServingStatus {
    /// Its generation.
    pub generation: u32,
    /// The digest of the build.
    pub digest: String,
    /// Its phase. None for a gatekeeper.
    pub phase: Option<PluginPhase>,
    /// Its probation, if it is on one.
    pub probation: Option<ClusterProbation>,
}

/// A probation, with what all nodes have reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterProbation {
    /// The generation that serves again after a rollback.
    pub instead: u32,
    /// The answered calls of all nodes.
    pub calls: u64,
    /// The answered calls that it needs.
    pub calls_needed: u64,
    /// The counted faults of all nodes.
    pub faults: u32,
    /// The faults that it tolerates. One more rolls the build back.
    pub faults_tolerated: u32,
    /// Its shortest length, in milliseconds.
    pub length_ms: u64,
}

/// A rollout that is being prepared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RolloutStatus {
    /// Its number.
    pub number: u32,
    /// The digest of its build.
    pub digest: String,
    /// The node where it was begun.
    pub by: String,
}

/// A plugin at one node, as that node has reported it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodePluginStatus {
    /// The name of the node.
    pub node: String,
    /// The generation that serves there.
    pub generation: Option<u32>,
    /// Whether the node has prepared the rollout. None if there is no rollout.
    pub is_prepared: Option<bool>,
    /// The calls that its generation has answered during a probation.
    pub calls: u64,
    /// The faults of its generation that count in the probation.
    pub faults: u32,
    /// Why it doesn't serve what the cluster serves.
    pub trouble: Option<String>,
}
