//! Probations of new generations: which build a new one is compared with, when it passes, and automatic rollback.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::super::Digest;
use super::super::builds::Rejection;
use super::super::loader::Loaded;
use super::super::status::{OnProbation, PluginPhase, RolledBack};
use super::Library;
use crate::contract::system_now_ms;
use crate::routes::{NamedGatekeeper, Probation, ProbationResult, Route, RouteSpec};

/// A generation that serves or is a candidate, with its probation.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) loaded: Arc<Loaded>,
    pub(super) trial: Option<Trial>,
    /// The reason why this generation serves instead of the file's content, if it does.
    pub(super) remark: Option<String>,
}

/// A generation's probation, and the build before it.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) probation: Arc<Probation>,
    pub(super) against: Against,
}

/// The build against which a generation is on probation.
#[derive(Clone)]
pub(super) enum Against {
    /// There was no build before it. The generation is unproved, and passes with its first answered call.
    Nothing,
    /// The build with this digest, which can't be loaded any more. Earlier versions of states are kept anyway, in
    /// case that build is put back into the file.
    Lost(String),
    /// This generation, which serves again after a rollback.
    Build(Arc<Loaded>),
}

impl Trial {
    /// Returns the previous generation, if it is loaded.
    pub(super) fn previous(&self) -> Option<&Arc<Loaded>> {
        match &self.against {
            Against::Build(previous) => Some(previous),
            Against::Nothing | Against::Lost(_) => None,
        }
    }

    /// Returns the probation's id and the build that a rollback leads to, if there is such a build.
    pub(super) fn rollback_target(&self) -> Option<(u64, String)> {
        let against = match &self.against {
            Against::Build(previous) => previous.digest.to_string(),
            Against::Lost(digest) => digest.clone(),
            Against::Nothing => return None,
        };
        Some((self.probation.id()?, against))
    }
}

impl Serving {
    /// Returns the routes for the route table.
    pub(super) fn table(&self) -> Vec<Arc<Route>> {
        let trial = self.trial.as_ref();
        self.loaded.table(trial.map(|trial| (&trial.probation, trial.previous().map(|previous| &**previous)))).collect()
    }

    pub(super) fn gatekeeper(&self) -> Option<(Arc<str>, NamedGatekeeper)> {
        self.loaded.gatekeeper()
    }

    /// Returns the phase of the generation, and its probation, for its status.
    pub(super) fn phase(&self) -> (Option<PluginPhase>, Option<OnProbation>) {
        let on_probation = |trial: &Trial| OnProbation {
            instead: trial.previous().map(|previous| previous.generation()),
            probation: Arc::clone(&trial.probation),
        };
        match &self.trial {
            None => (self.gatekeeper().is_none().then_some(PluginPhase::Proved), None),
            Some(Trial { against: Against::Nothing, .. }) => (Some(PluginPhase::Unproved), None),
            Some(trial) => (Some(PluginPhase::OnProbation), Some(on_probation(trial))),
        }
    }
}

impl Library {
    /// Returns the trial of a build that was just loaded. It is on probation against the serving generation. If that
    /// generation is on probation too, the new build continues that probation. If nothing serves, the new build is on
    /// probation against the build that passed last. If there is no earlier build or probation is off, the new build
    /// is unproved, unless it has passed before.
    pub(super) fn trial_of(&self, name: &str, loaded: &Loaded) -> Option<Trial> {
        if loaded.gatekeeper().is_some() {
            return None;
        }
        let entry = self.plugins.get(name)?;
        let digest = loaded.digest.to_string();
        let Some(serving) = &entry.serving else {
            let recalled = entry.recalled.as_ref();
            let recalled =
                recalled.filter(|trial| trial.rollback_target().is_none_or(|(_, against)| against != digest));
            return recalled.cloned().or_else(|| self.unless_known(name, &digest));
        };
        match &serving.trial {
            Some(trial) if trial.probation.can_roll_back() => Some(trial.clone()),
            trial if serving.loaded.digest == loaded.digest => trial.clone(),
            _ if self.options.probation.time.is_zero() => self.unless_known(name, &digest),
            _ => Some(Trial {
                probation: Probation::new(self.options.probation, Arc::clone(&self.news)),
                against: Against::Build(Arc::clone(&serving.loaded)),
            }),
        }
    }

    /// Returns the trial of a build without a build before it: none if the build is recorded as passed.
    pub(super) fn unless_known(&self, name: &str, digest: &str) -> Option<Trial> {
        let is_known = self.builds.record(name).knows(digest);
        let probation = || Probation::without_rollback(Arc::clone(&self.news));
        (!is_known).then(|| Trial { probation: probation(), against: Against::Nothing })
    }

    /// Returns the trial of the serving generation, if the file now contains the build before it with other state
    /// versions. The library then rolls back instead of loading the file: the older build couldn't upgrade the newer
    /// states, but their earlier versions are still kept.
    pub(super) fn rollback_by_file(&self, name: &str, digest: &Digest) -> Option<Trial> {
        let serving = self.plugins.get(name)?.serving.as_ref()?;
        let versions = |loaded: &Loaded| -> Vec<_> {
            let version = |route: &RouteSpec| (route.pattern.clone(), route.assigns_version, route.room_version);
            loaded.routes.iter().map(version).collect()
        };
        let trial = serving.trial.as_ref()?;
        let previous =
            trial.previous().filter(|previous| previous.digest == *digest && !self.would_open(name, previous))?;
        (versions(&serving.loaded) != versions(previous)).then(|| trial.clone())
    }

    /// Records that the candidate with this name is about to serve, before it answers a call, and ends the probation
    /// that it doesn't continue.
    ///
    /// The record is on the disk before the probation ends. Otherwise, after a crash, the next start would continue
    /// the probation, although states have already returned to their earlier versions or dropped them.
    pub(super) fn note_candidate(&mut self, name: &str) {
        if self.cluster.is_some() {
            // The cluster's records say it.
            return;
        }
        let Some(entry) = self.plugins.get(name) else { return };
        let Some(candidate) = &entry.candidate else { return };
        let is_gatekeeper = candidate.gatekeeper().is_some();
        let digest = candidate.loaded.digest.to_string();
        let next = candidate.trial.as_ref().and_then(Trial::rollback_target);
        let serving = entry.serving.as_ref().and_then(|serving| serving.trial.clone());
        let open = serving.or_else(|| entry.recalled.clone());
        let before = self.builds.record(name);
        if is_gatekeeper && before.open.is_none() {
            return;
        }
        self.builds.update(name, |record| record.note_published(&digest, next.clone(), system_now_ms()));
        let ended: Vec<_> = self.builds.record(name).ended;
        for ended in ended.into_iter().filter(|ended| !before.ended.contains(ended)) {
            let result = if ended.is_taken_back { ProbationResult::RolledBack } else { ProbationResult::Passed };
            let open = open.as_ref().map(|trial| &trial.probation).filter(|open| open.id() == Some(ended.id));
            let probation = match open {
                Some(open) => {
                    open.end(result);
                    Arc::clone(open)
                }
                None => Probation::ended(ended.id, result, Arc::clone(&self.news)),
            };
            self.past.entry(name.into()).or_default().push(probation);
        }
    }

    /// Returns the ended probations whose id may still be in stored states, for the route table.
    pub(super) fn past(&self) -> HashMap<Arc<str>, Vec<Arc<Probation>>> {
        self.past.iter().map(|(name, past)| (Arc::clone(name), past.clone())).collect()
    }

    /// Checks all probations: rolls back generations that have failed, and lets those pass whose probation is over.
    pub(super) fn review(&mut self) {
        let on_trial = |entry: &super::PluginState| entry.serving.as_ref()?.trial.clone();
        let trials: Vec<_> =
            self.plugins.iter().filter_map(|(name, entry)| Some((name.clone(), on_trial(entry)?))).collect();
        if let Some(cluster) = &self.cluster {
            // The counts of all nodes decide.
            if trials.iter().any(|(_, trial)| trial.probation.has_failed() || trial.probation.is_over()) {
                cluster.counted.notify_one();
            }
            return self.forget_swept();
        }
        for (name, trial) in trials {
            if trial.probation.has_failed() {
                self.roll_back_automatically(&name, &trial);
            } else if trial.probation.is_over() {
                self.prove(&name, &trial);
            }
        }
        self.forget_swept();
    }

    /// Removes the ended probations whose id is in no stored state any more.
    fn forget_swept(&mut self) {
        for (name, past) in &mut self.past {
            let is_swept = |id: u64| past.iter().any(|probation| probation.id() == Some(id) && probation.is_swept());
            self.builds.update(name, |record| record.ended.retain(|ended| !is_swept(ended.id)));
            past.retain(|probation| !probation.is_swept());
        }
        self.past.retain(|_, past| !past.is_empty());
    }

    pub(super) fn prove(&mut self, name: &str, trial: &Trial) {
        if let Some(serving) = self.plugins.get_mut(name).and_then(|entry| entry.serving.as_mut()) {
            let digest = serving.loaded.digest.to_string();
            serving.trial = None;
            tracing::info!(plugin = name, generation = serving.loaded.generation(), "plugin_proved");
            self.builds.update(name, |record| record.note_proved(&digest));
        }
        // If several builds came within one probation, those between never passed: an operator's rollback doesn't lead to them.
        if let (Some(entry), Some(passed)) = (self.plugins.get_mut(name), trial.previous()) {
            entry.previous = Some(Arc::clone(passed));
        }
        trial.probation.end(ProbationResult::Passed);
        if trial.probation.can_roll_back() {
            self.past.entry(name.into()).or_default().push(Arc::clone(&trial.probation));
        }
        // A waiting candidate is now on probation against this generation.
        if let Some(waiting) = self.plugins.get_mut(name).and_then(|entry| entry.candidate.take()) {
            let trial = self.trial_of(name, &waiting.loaded);
            self.plugins.entry(name.to_owned()).or_default().candidate = Some(Serving { trial, ..waiting });
        }
        self.statuses.update(name, |status| {
            status.standing = Some(PluginPhase::Proved);
            status.probation = None;
        });
        self.publish_as_it_is();
        self.routes.notify_probation_end();
        self.prune_builds();
    }

    /// Rolls back a generation automatically: the previous generation serves again, and the failed build is rejected
    /// from now on.
    fn roll_back_automatically(&mut self, name: &str, trial: &Trial) {
        let Some(serving) = self.plugins.get(name).and_then(|entry| entry.serving.clone()) else { return };
        let Some(previous) = trial.previous() else { return };
        let (digest, faults) = (serving.loaded.digest, trial.probation.faults());
        if let Err(conflict) = self.publish_previous(name, previous) {
            // Another plugin now serves topics that the new generation doesn't have, so the rollback is impossible.
            tracing::error!(plugin = name, "plugin_not_taken_back: {conflict}");
            return self.prove(name, trial);
        }
        let (generation, instead) = (serving.loaded.generation(), previous.generation());
        tracing::error!(
            plugin = name,
            generation,
            faults,
            "plugin_taken_back: it failed on calls that generation {instead} answers; generation {instead} serves again"
        );
        let (at_ms, proved) = (system_now_ms(), previous.digest.to_string());
        // The previous build has answered the calls on which the other one failed.
        self.builds.update(name, |record| record.note_rolled_back(&proved));
        self.builds.reject(&digest, Rejection { plugin: name.to_owned(), at_ms, faults, instead: proved });
        let taken_back = RolledBack::new(generation, digest.to_string(), at_ms, faults, Arc::clone(&trial.probation));
        self.statuses.update(name, |status| {
            status.standing = Some(PluginPhase::Proved);
            status.taken_back = Some(taken_back);
            status.loads.taken_back += 1;
        });
        self.prune_builds();
    }

    /// Publishes the build before a probation again, and has states return to their earlier versions.
    pub(super) fn publish_previous(
        &mut self,
        name: &str,
        previous: &Arc<Loaded>,
    ) -> Result<(), crate::routes::Conflict> {
        self.serve_again(name, Arc::clone(previous))?;
        self.routes.notify_probation_end();
        Ok(())
    }

    /// Removes stored components, except those that serve or may have to serve again, and the records of former plugins
    /// above the limit.
    pub(super) fn prune_builds(&mut self) {
        let served = self.plugins.values().flat_map(|entry| entry.serving.iter().chain(&entry.candidate));
        let served = served.map(|serving| serving.loaded.digest.to_string());
        // A load stores its component before the library makes a candidate of it.
        let loading = self.plugins.values().filter_map(|entry| entry.job.as_ref()?.build.as_ref());
        let wanted: BTreeSet<String> = served.chain(loading.map(Digest::to_string)).collect();
        let present: BTreeSet<&str> = self.plugins.keys().map(|name| &**name).collect();
        self.builds.prune(&wanted, &present);
        // The history keeps a bounded number of plugins without a file, so it bounds the kinds too.
        let (history, kinds) = (self.builds.history(), &mut self.kinds);
        kinds.prune(|name| present.contains(name) || history.contains_key(name));
    }
}
