//! A plugin at this node, with what was reported of it.

use std::sync::Arc;

use bennu_cluster::rollout::{LocalPlugin, PluginRecord, Report};

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

    /// What has to be reported, if it has changed.
    pub(super) fn report(&self, record: &PluginRecord) -> Option<Report> {
        let counts = self.probation.as_ref().map(|probation| (probation.calls(), probation.faults()));
        let report = self.plugin.report(record, counts.unwrap_or_default());
        (self.reported.as_ref() != Some(&report)).then_some(report)
    }

    pub(super) fn note_reported(&mut self, report: Report) {
        self.reported = Some(report);
    }
}
