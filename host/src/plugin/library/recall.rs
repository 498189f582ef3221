//! Builds from earlier starts of the host: the build against which a plugin's file is on probation if nothing serves
//! yet, and the target of a rollback.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::super::builds::{LoadKept, Rejection};
use super::super::guest::Origin;
use super::super::history::EndedProbation;
use super::super::loader::{Loaded, Loader};
use super::super::scan::Found;
use super::super::{Builds, Digest, Kind};
use super::Library;
use super::control::CommandError;
use super::jobs::{Answer, Why, read_kept};
use super::trial::{Against, Trial};
use crate::routes::{Probation, ProbationResult};

/// A previous build that is loaded first, because another build is on probation against it.
pub(super) struct Recall {
    /// The digest of the previous build.
    pub(super) previous: String,
    kept: LoadKept,
}

/// The result of loading the previous build.
pub(super) struct Recalled {
    previous: String,
    pub(super) loaded: Result<Loaded>,
}

impl Recall {
    /// Loads the previous build as a separate generation.
    pub(super) async fn load(
        self,
        loader: &Loader,
        origin: Arc<Origin>,
        place: &Arc<OwnedSemaphorePermit>,
    ) -> Recalled {
        let Self { previous, kept } = self;
        let loaded = match read_kept(kept).await {
            Ok((bytes, digest)) => loader.load_holding(bytes, digest, origin, Arc::clone(place)).await,
            Err(error) => Err(error),
        };
        Recalled { previous, loaded }
    }
}

impl Library {
    /// Returns the build against which a new build is on probation, if nothing serves and no build was recalled yet.
    /// This is the build that passed last. There is none for a gatekeeper, because gatekeepers have no probation.
    pub(super) fn to_recall(&self, name: &str) -> Option<Recall> {
        let entry = self.plugins.get(name)?;
        let is_there = entry.serving.is_some() || entry.recalled.is_some();
        if is_there || self.options.probation.time.is_zero() || self.kinds.of(name) == Some(Kind::Gatekeeper) {
            return None;
        }
        let previous = self.builds.record(name).previous_build()?.clone();
        let kept = self.builds.kept(&[&previous]);
        Some(Recall { previous, kept })
    }

    /// Creates the probation of a new build against the recalled one. If a probation was running before the host's
    /// start, it continues: its time and counts start again, and the earlier versions of states are still stored.
    pub(super) fn take_recalled(&mut self, name: &str, recalled: Recalled) {
        let Recalled { previous, loaded } = recalled;
        let against = match loaded {
            Ok(loaded) => {
                self.plugins.entry(name.to_owned()).or_default().generation = loaded.generation();
                Against::Build(Arc::new(loaded))
            }
            Err(error) => {
                tracing::error!(
                    plugin = name,
                    "the build that passed last can't be loaded, so no rollback to it is possible: {error:#}"
                );
                Against::Lost(previous)
            }
        };
        let (terms, news) = (self.options.probation, Arc::clone(&self.news));
        let probation = match &self.builds.record(name).open {
            Some(open) => Probation::resumed(open.id, terms, news),
            None => Probation::new(terms, news),
        };
        self.plugins.entry(name.to_owned()).or_default().recalled = Some(Trial { probation, against });
    }

    /// Returns the component that serves instead of a rejected build: the build that passed last, or else the build
    /// that served again after the rollback.
    pub(super) fn kept_instead(&self, name: &str, rejection: &Rejection) -> LoadKept {
        let record = self.builds.record(name);
        let known: Vec<_> = record.previous_build().into_iter().chain([&rejection.instead]).collect();
        self.builds.kept(&known)
    }

    /// Begins to load the earlier build for a rollback after a restart. After any rollback, no further rollback is
    /// possible.
    pub(super) fn recall_before(&mut self, name: &str, answer: Answer) {
        let begun = self.plugins.get_mut(name).and_then(|entry| entry.job.as_mut());
        if let Some(begun) = begun.filter(|job| job.why == Why::RollBack) {
            return begun.answers.push(answer);
        }
        let entry = self.plugins.get(name).filter(|entry| !entry.has_gone_back);
        let serves = entry.and_then(|entry| entry.serving.as_ref()).map(|serving| serving.loaded.digest);
        let record = self.builds.record(name);
        let before = serves.and_then(|serves| Some((serves, record.rollback_target_from(&serves.to_string())?)));
        let Some((serves, before)) = before else {
            let none = CommandError::Refused("there is no generation before the one that serves".to_owned());
            // The operator may have disconnected.
            let _ = answer.send(Err(none));
            return;
        };
        let kept = self.builds.kept(&[before]);
        self.begin_kept(name, kept, serves, answer);
    }

    /// Ends the load for a rollback.
    pub(super) fn conclude_rollback(&mut self, name: &str, loaded: Result<Loaded>) {
        let Some(job) = self.plugins.get_mut(name).and_then(|entry| entry.job.take()) else { return };
        self.statuses.update(name, |status| status.is_loading = false);
        let granted = loaded.map_err(|error| format!("the previous build can't be loaded any more: {error:#}"));
        let granted = granted.and_then(|loaded| self.publish_rollback(name, job.serves, loaded));
        match &granted {
            Ok(()) => self.statuses.update(name, |status| status.is_rolled_back = true),
            Err(why) => {
                tracing::error!(plugin = name, "plugin_not_rolled_back: {why}");
                if let Some(entry) = self.plugins.get_mut(name).filter(|_| job.has_replaced) {
                    // The rollback has cancelled a load of the file, so the file is read again.
                    entry.seen = None;
                }
            }
        }
        self.refuse_candidates();
        for answer in job.answers {
            // The operator may have disconnected.
            let _ = answer.send(granted.clone().map_err(CommandError::Refused));
        }
    }

    fn publish_rollback(&mut self, name: &str, from: Option<Digest>, loaded: Loaded) -> Result<(), String> {
        let entry = self.plugins.get(name);
        let serves = entry.and_then(|entry| entry.serving.as_ref()).map(|serving| serving.loaded.digest);
        if serves != from {
            return Err("another generation serves now".to_owned());
        }
        self.check_gatekeeper(name, &loaded).map_err(|denied| denied.to_string())?;
        self.serve_again(name, Arc::new(loaded)).map_err(|conflict| conflict.to_string())
    }

    /// Returns the origin of a plugin's next generation, and that of the one after it.
    pub(super) fn next_origins(&self, name: &str) -> Result<[Arc<Origin>; 2]> {
        let generation = self.plugins.get(name).map_or(0, |entry| entry.generation) + 1;
        let usage = self.statuses.usage(name);
        let origin = |generation| {
            let origin = self.options.settings.origin(name, generation)?;
            anyhow::Ok(Arc::new(Origin { usage: Arc::clone(&usage), ..origin }))
        };
        Ok([origin(generation)?, origin(generation + 1)?])
    }

    /// At the start: logs the plugins that have served before and have no file now. None of them is served, because
    /// the file may have been removed on purpose.
    pub(super) fn log_absent(&self, found: &Found) {
        for (name, record) in self.builds.history() {
            if record.previous_build().is_some() && !found.plugins.contains_key(name) {
                tracing::warn!(
                    plugin = name,
                    "plugin_file_absent: it served before, but its file is gone, so it is not served"
                );
            }
        }
    }
}

/// Returns the ended probations of earlier starts whose id may still be in stored states.
pub(super) fn past_of(builds: &Builds, news: &Arc<Notify>) -> BTreeMap<Arc<str>, Vec<Arc<Probation>>> {
    let ended = |ended: &EndedProbation| {
        let result = if ended.is_taken_back { ProbationResult::RolledBack } else { ProbationResult::Passed };
        Probation::ended(ended.id, result, Arc::clone(news))
    };
    let records = builds.history().iter().filter(|(_, record)| !record.ended.is_empty());
    records.map(|(name, record)| (name.as_str().into(), record.ended.iter().map(ended).collect())).collect()
}
