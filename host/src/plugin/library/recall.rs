//! Builds of earlier starts of the host: what a plugin's file has to prove itself against when nothing serves yet, and what a
//! rollback leads to.

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

/// A build that is loaded before another one, which has to prove itself against it.
pub(super) struct Recall {
    /// Its digest.
    pub(super) judge: String,
    kept: LoadKept,
}

/// What has become of it.
pub(super) struct Recalled {
    judge: String,
    pub(super) loaded: Result<Loaded>,
}

impl Recall {
    /// Loads it as a generation of its own.
    pub(super) async fn load(
        self,
        loader: &Loader,
        origin: Arc<Origin>,
        place: &Arc<OwnedSemaphorePermit>,
    ) -> Recalled {
        let Self { judge, kept } = self;
        let loaded = match read_kept(kept).await {
            Ok((bytes, digest)) => loader.load_holding(bytes, digest, origin, Arc::clone(place)).await,
            Err(error) => Err(error),
        };
        Recalled { judge, loaded }
    }
}

impl Library {
    /// What a build has to prove itself against, where nothing serves and nothing was recalled yet. It is the build that was
    /// proved last, and nothing for a gatekeeper, which isn't on probation.
    pub(super) fn to_recall(&self, name: &str) -> Option<Recall> {
        let entry = self.plugins.get(name)?;
        let is_there = entry.serving.is_some() || entry.recalled.is_some();
        if is_there || self.options.probation.time.is_zero() || self.kinds.of(name) == Some(Kind::Gatekeeper) {
            return None;
        }
        let judge = self.builds.record(name).previous_build()?.clone();
        let kept = self.builds.kept(&[&judge]);
        Some(Recall { judge, kept })
    }

    /// Gets ready what a build has to prove itself against. A probation that was under way goes on: its time and its counts begin
    /// anew, and what states were before is still there.
    pub(super) fn take_recalled(&mut self, name: &str, recalled: Recalled) {
        let Recalled { judge, loaded } = recalled;
        let against = match loaded {
            Ok(loaded) => {
                self.plugins.entry(name.to_owned()).or_default().generation = loaded.generation();
                Against::Build(Arc::new(loaded))
            }
            Err(error) => {
                tracing::error!(
                    plugin = name,
                    "the build that was proved last can't be loaded, so there is no way back to it: {error:#}"
                );
                Against::Lost(judge)
            }
        };
        let (terms, news) = (self.options.probation, Arc::clone(&self.news));
        let probation = match &self.builds.record(name).open {
            Some(open) => Probation::resumed(open.id, terms, news),
            None => Probation::new(terms, news),
        };
        self.plugins.entry(name.to_owned()).or_default().recalled = Some(Trial { probation, against });
    }

    /// The component that serves in place of a build that was taken back: the one that was proved last, or at least the one that
    /// served again then.
    pub(super) fn kept_instead(&self, name: &str, rejection: &Rejection) -> LoadKept {
        let record = self.builds.record(name);
        let known: Vec<_> = record.previous_build().into_iter().chain([&rejection.instead]).collect();
        self.builds.kept(&known)
    }

    /// Begins to load the build before the one that serves, for a rollback after a restart. There is none after the plugin has gone
    /// back already.
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
            // Who asked may have gone.
            let _ = answer.send(Err(none));
            return;
        };
        let kept = self.builds.kept(&[before]);
        self.begin_kept(name, kept, serves, answer);
    }

    /// The load for a rollback has come to its end.
    pub(super) fn conclude_rollback(&mut self, name: &str, loaded: Result<Loaded>) {
        let Some(job) = self.plugins.get_mut(name).and_then(|entry| entry.job.take()) else { return };
        self.statuses.update(name, |status| status.is_loading = false);
        let granted = loaded.map_err(|error| format!("the build before can't be loaded any more: {error:#}"));
        let granted = granted.and_then(|loaded| self.go_back_to(name, job.serves, loaded));
        match &granted {
            Ok(()) => self.statuses.update(name, |status| status.is_rolled_back = true),
            Err(why) => {
                tracing::error!(plugin = name, "plugin_not_rolled_back: {why}");
                if let Some(entry) = self.plugins.get_mut(name).filter(|_| job.has_replaced) {
                    // What is in the file was given up for nothing, so it is read once more.
                    entry.seen = None;
                }
            }
        }
        self.refuse_candidates();
        for answer in job.answers {
            // Who asked may have gone.
            let _ = answer.send(granted.clone().map_err(CommandError::Refused));
        }
    }

    fn go_back_to(&mut self, name: &str, from: Option<Digest>, loaded: Loaded) -> Result<(), String> {
        let entry = self.plugins.get(name);
        let serves = entry.and_then(|entry| entry.serving.as_ref()).map(|serving| serving.loaded.digest);
        if serves != from {
            return Err("another generation serves meanwhile".to_owned());
        }
        self.check_gatekeeper(name, &loaded).map_err(|denied| denied.to_string())?;
        self.serve_again(name, Arc::new(loaded)).map_err(|conflict| conflict.to_string())
    }

    /// What the next load of a plugin is told and granted, and the one after it.
    pub(super) fn next_origins(&self, name: &str) -> Result<[Arc<Origin>; 2]> {
        let generation = self.plugins.get(name).map_or(0, |entry| entry.generation) + 1;
        let origin = |generation| self.options.settings.origin(name, generation).map(Arc::new);
        Ok([origin(generation)?, origin(generation + 1)?])
    }

    /// At the start: says which plugins have served before and have no file now. None of them is served: whoever took the file
    /// away may have meant it.
    pub(super) fn say_absent(&self, found: &Found) {
        for (name, record) in self.builds.history() {
            if record.previous_build().is_some() && !found.plugins.contains_key(name) {
                tracing::warn!(
                    plugin = name,
                    "plugin_file_absent: it has served before, and has no file now, so it is not served"
                );
            }
        }
    }
}

/// The probations of earlier starts that have ended and may still hold bytes of stored states.
pub(super) fn past_of(builds: &Builds, news: &Arc<Notify>) -> BTreeMap<Arc<str>, Vec<Arc<Probation>>> {
    let ended = |ended: &EndedProbation| {
        let result = if ended.is_taken_back { ProbationResult::RolledBack } else { ProbationResult::Passed };
        Probation::ended(ended.id, result, Arc::clone(news))
    };
    let records = builds.history().iter().filter(|(_, record)| !record.ended.is_empty());
    records.map(|(name, record)| (name.as_str().into(), record.ended.iter().map(ended).collect())).collect()
}
