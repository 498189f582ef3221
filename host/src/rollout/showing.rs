//! What operators see of a plugin in the cluster.

use bennu_cluster::rollout::{BuildPhase, NodeReport, OutcomeResult, PluginRecord, ServingBuild, probation_counts};

use super::driver::Rollouts;
use crate::plugin::{
    ClusterPluginStatus, ClusterProbation, NodePluginStatus, PluginPhase, RolloutStatus, ServingStatus,
};

impl Rollouts {
    /// Writes the state of all plugins for operators.
    pub(super) fn show(&self) {
        for (name, record) in &self.records {
            self.plugins.statuses().set_cluster(name, self.status_of(name, record));
        }
        self.show_unread();
    }

    fn status_of(&self, plugin: &str, record: &PluginRecord) -> ClusterPluginStatus {
        let rollout = record.rollout.as_ref().map(|rollout| RolloutStatus {
            number: rollout.number,
            digest: rollout.digest.to_string(),
            by: rollout.by.clone(),
        });
        // What was refused before a build was rolled out is over.
        let mut since = record.outcomes.iter().rev().take_while(|outcome| outcome.result != OutcomeResult::Switched);
        let last_refusal = since.find_map(|outcome| match &outcome.result {
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
        let trouble = self.locals.get(plugin).and_then(|local| local.plugin.report(record, (0, 0)).trouble);
        let trouble = trouble.map(|why| format!("this node can't load it: {why}"));
        ClusterPluginStatus {
            serving: record.serving.as_ref().map(|serving| serving_status(plugin, serving, &self.reports)),
            rollout,
            last_refusal,
            rejected: record.rejected.iter().map(|rejected| rejected.digest.to_string()).collect(),
            nodes: nodes.collect(),
            trouble,
        }
    }
}

/// The build that serves, with what all nodes have reported of its probation.
fn serving_status(plugin: &str, serving: &ServingBuild, reports: &[NodeReport]) -> ServingStatus {
    let ServingBuild { build, phase } = serving;
    let (phase, probation) = match phase {
        BuildPhase::Passed => (PluginPhase::Proved, None),
        BuildPhase::Unproved => (PluginPhase::Unproved, None),
        BuildPhase::OnProbation(open) => {
            let (calls, faults) = probation_counts(plugin, build.generation, reports);
            let probation = ClusterProbation {
                instead: open.against.generation,
                calls,
                calls_needed: open.terms.calls,
                faults,
                faults_tolerated: open.terms.faults,
                length_ms: open.terms.time_ms,
            };
            (PluginPhase::OnProbation, Some(probation))
        }
    };
    ServingStatus {
        generation: build.generation,
        digest: build.digest.to_string(),
        phase: (!build.is_gatekeeper).then_some(phase),
        probation,
    }
}
