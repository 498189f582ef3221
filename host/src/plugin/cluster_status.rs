//! What operators see of a plugin in a cluster.

use serde::Serialize;

/// A plugin in the whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterPluginStatus {
    /// The rollout that is being prepared.
    pub rollout: Option<RolloutStatus>,
    /// Why the last rollout that was refused wasn't carried out.
    pub last_refusal: Option<String>,
    /// The digests of the builds that were rolled back automatically.
    pub rejected: Vec<String>,
    /// The living nodes.
    pub nodes: Vec<NodePluginStatus>,
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
