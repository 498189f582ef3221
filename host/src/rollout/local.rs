//! A plugin at this node, with what was reported of it.

use std::sync::Arc;

use bennu_cluster::rollout::{LoadState, LoadedBuild, LocalPlugin, PluginRecord, Report};

use crate::routes::Probation;

/// A plugin at this node.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) plugin: LocalPlugin,
    /// The probation of the generation that serves here, with its counts.
    pub(super) probation: Option<Arc<Probation>>,
    /// What was reported last.
    reported: Option<Report>,
}

impl Local {
    /// The generation that serves here.
    pub(super) fn generation(&self) -> Option<u32> {
        self.plugin.serving.as_ref().map(|(generation, _)| *generation)
    }

    /// Whether a gatekeeper is loaded here and nothing serves: the cluster may be about to switch to it.
    pub(super) fn has_prepared_gatekeeper(&self) -> bool {
        let is_gatekeeper = |load: &LoadState| matches!(load, LoadState::Loaded(build) if build.is_gatekeeper);
        self.generation().is_none() && self.plugin.loads.values().any(|(_, load)| is_gatekeeper(load))
    }

    /// What has to be reported, if it has changed. `why_not` says why a build that is loaded counts as one that can't be.
    pub(super) fn report(
        &self,
        record: &PluginRecord,
        why_not: impl FnOnce(&LoadedBuild) -> Option<String>,
    ) -> Option<Report> {
        let counts = self.probation.as_ref().map(|probation| (probation.calls(), probation.faults()));
        let mut report = self.plugin.report(record, counts.unwrap_or_default());
        if let Some(prepared) = &mut report.prepared
            && let Some(why) = prepared.result.as_ref().ok().and_then(why_not)
        {
            prepared.result = Err(why);
        }
        (self.reported.as_ref() != Some(&report)).then_some(report)
    }

    pub(super) fn note_reported(&mut self, report: Report) {
        self.reported = Some(report);
    }
}
