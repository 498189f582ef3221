//! What operators see of a plugin in the cluster.

use bennu_cluster::rollout::{NodeReport, OutcomeResult, PluginRecord};

use super::driver::Rollouts;
use crate::plugin::{ClusterPluginStatus, NodePluginStatus, RolloutStatus};

impl Rollouts {
    /// Writes the state of all plugins for operators.
    pub(super) fn show(&self) {
        for (name, record) in &self.records {
            self.plugins.statuses().set_cluster(name, self.status_of(name, record));
        }
    }

    fn status_of(&self, plugin: &str, record: &PluginRecord) -> ClusterPluginStatus {
        let rollout = record.rollout.as_ref().map(|rollout| RolloutStatus {
            number: rollout.number,
            digest: rollout.digest.to_string(),
            by: rollout.by.clone(),
        });
        let last_refusal = record.outcomes.iter().rev().find_map(|outcome| match &outcome.result {
            OutcomeResult::Refused(why) => Some(why.clone()),
            OutcomeResult::Switched | OutcomeResult::Replaced => None,
        });
        let nodes = self.nodes.iter().map(|node| {
            let its = |report: &&NodeReport| report.plugin == plugin && report.epoch == node.epoch;
            let report = self.reports.iter().find(its).map(|report| report.report.clone()).unwrap_or_default();
            let number = record.rollout.as_ref().map(|rollout| rollout.number);
            let prepared = report.prepared.filter(|prepared| Some(prepared.number) == number);
            NodePluginStatus {
                node: node.name.clone(),
                generation: report.serving,
                is_prepared: number.map(|_| prepared.is_some_and(|prepared| prepared.result.is_ok())),
                calls: report.calls,
                faults: report.faults,
                trouble: report.trouble,
            }
        });
        ClusterPluginStatus {
            rollout,
            last_refusal,
            rejected: record.rejected.iter().map(|rejected| rejected.digest.to_string()).collect(),
            nodes: nodes.collect(),
        }
    }
}
