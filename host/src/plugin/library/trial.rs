//! New generations on probation: which may be taken back, which has proved itself, and the way back.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::super::Digest;
use super::super::builds::Rejection;
use super::super::loader::Loaded;
use super::super::status::{OnProbation, PluginPhase, RolledBack};
use super::Library;
use crate::contract::system_now_ms;
use crate::routes::{NamedGatekeeper, Probation, ProbationResult, Route, RouteSpec};

/// A generation that serves or is about to, and what it has to prove itself against, while it has to.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) loaded: Arc<Loaded>,
    pub(super) trial: Option<Trial>,
    /// Why it is this one and not what its file holds, where that is so.
    pub(super) remark: Option<String>,
}

/// A generation's probation, and the generation that serves again if it fails.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) probation: Arc<Probation>,
    pub(super) against: Against,
}

/// What a generation has to prove itself against.
#[derive(Clone)]
pub(super) enum Against {
    /// There was no build before it. It is proved by the first call that it answers.
    Nothing,
    /// The build of this digest, which can't be loaded any more. States are kept as they were all the same, for the day on which
    /// that build is in the file again.
    Lost(String),
    /// This one, which serves again if the generation fails.
    Build(Arc<Loaded>),
}

impl Trial {
    /// The generation that judges, if there is one.
    pub(super) fn previous(&self) -> Option<&Arc<Loaded>> {
        match &self.against {
            Against::Build(judge) => Some(judge),
            Against::Nothing | Against::Lost(_) => None,
        }
    }

    /// The number of a probation with a way back, and the build that the way leads to.
    pub(super) fn rollback_target(&self) -> Option<(u64, String)> {
        let against = match &self.against {
            Against::Build(judge) => judge.digest.to_string(),
            Against::Lost(digest) => digest.clone(),
            Against::Nothing => return None,
        };
        Some((self.probation.id()?, against))
    }
}

impl Serving {
    /// Its routes, for the table.
    pub(super) fn table(&self) -> Vec<Arc<Route>> {
        let trial = self.trial.as_ref();
        self.loaded.table(trial.map(|trial| (&trial.probation, trial.previous().map(|judge| &**judge)))).collect()
    }

    pub(super) fn gatekeeper(&self) -> Option<(Arc<str>, NamedGatekeeper)> {
        self.loaded.gatekeeper()
    }

    /// Whether it is proved, for those who ask; and the probation that it is on.
    pub(super) fn phase(&self) -> (Option<PluginPhase>, Option<OnProbation>) {
        let on_probation = |trial: &Trial| OnProbation {
            instead: trial.previous().map(|judge| judge.generation()),
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
    /// What a build that was just loaded has to prove itself against: the generation that serves, or, if that is on probation
    /// itself, the one before it. Where nothing serves, it is the build that was proved last before.
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

    /// The trial of a build that has nothing to go back to, unless it is proved.
    pub(super) fn unless_known(&self, name: &str, digest: &str) -> Option<Trial> {
        let is_known = self.builds.record(name).knows(digest);
        let probation = || Probation::without_rollback(Arc::clone(&self.news));
        (!is_known).then(|| Trial { probation: probation(), against: Against::Nothing })
    }

    /// The trial of a generation, if the build that it has to prove itself against is put back in its file, and states would
    /// have to be taken over for that. It couldn't read what it doesn't know; but what they were before is still there.
    pub(super) fn way_back(&self, name: &str, digest: &Digest) -> Option<Trial> {
        let serving = self.plugins.get(name)?.serving.as_ref()?;
        let versions = |loaded: &Loaded| -> Vec<_> {
            let version = |route: &RouteSpec| (route.pattern.clone(), route.assigns_version, route.room_version);
            loaded.routes.iter().map(version).collect()
        };
        let trial = serving.trial.as_ref()?;
        let judge = trial.previous().filter(|judge| judge.digest == *digest && !self.would_open(name, judge))?;
        (versions(&serving.loaded) != versions(judge)).then(|| trial.clone())
    }

    /// Writes down that the candidate of that name is about to serve, before a call of it is answered, and ends the probation
    /// that it doesn't go on with.
    ///
    /// First it is on the disk, then the verdict: states that have returned to what they were, or have let go of it, must not be
    /// taken for ones on probation by the next start.
    pub(super) fn note_candidate(&mut self, name: &str) {
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

    /// The probations that have ended and may still hold bytes of stored states, for the table.
    pub(super) fn past(&self) -> HashMap<Arc<str>, Vec<Arc<Probation>>> {
        self.past.iter().map(|(name, past)| (Arc::clone(name), past.clone())).collect()
    }

    /// Looks at those on probation: which has failed, and which has proved itself.
    pub(super) fn review(&mut self) {
        let on_trial = |entry: &super::PluginState| entry.serving.as_ref()?.trial.clone();
        let trials: Vec<_> =
            self.plugins.iter().filter_map(|(name, entry)| Some((name.clone(), on_trial(entry)?))).collect();
        for (name, trial) in trials {
            if trial.probation.has_failed() {
                self.roll_back_automatically(&name, &trial);
            } else if trial.probation.is_over() {
                self.prove(&name, &trial);
            }
        }
        self.forget_swept();
    }

    /// Forgets the probations of which no stored state knows any more.
    fn forget_swept(&mut self) {
        for (name, past) in &mut self.past {
            let is_swept = |id: u64| past.iter().any(|probation| probation.id() == Some(id) && probation.is_swept());
            self.builds.update(name, |record| record.ended.retain(|ended| !is_swept(ended.id)));
            past.retain(|probation| !probation.is_swept());
        }
        self.past.retain(|_, past| !past.is_empty());
    }

    fn prove(&mut self, name: &str, trial: &Trial) {
        if let Some(serving) = self.plugins.get_mut(name).and_then(|entry| entry.serving.as_mut()) {
            let digest = serving.loaded.digest.to_string();
            serving.trial = None;
            tracing::info!(plugin = name, generation = serving.loaded.generation(), "plugin_proved");
            self.builds.update(name, |record| record.note_proved(&digest));
        }
        trial.probation.end(ProbationResult::Passed);
        if trial.probation.can_roll_back() {
            self.past.entry(name.into()).or_default().push(Arc::clone(&trial.probation));
        }
        // One that waits to be published has this one to prove itself against.
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

    /// Lets the generation that has proved itself serve again, and remembers the build that hasn't.
    fn roll_back_automatically(&mut self, name: &str, trial: &Trial) {
        let Some(serving) = self.plugins.get(name).and_then(|entry| entry.serving.clone()) else { return };
        let Some(judge) = trial.previous() else { return };
        let (digest, faults) = (serving.loaded.digest, trial.probation.faults());
        if let Err(conflict) = self.publish_previous(name, judge) {
            // Another plugin has taken topics that the new generation didn't want: there is no way back.
            tracing::error!(plugin = name, "plugin_not_taken_back: {conflict}");
            return self.prove(name, trial);
        }
        let (generation, instead) = (serving.loaded.generation(), judge.generation());
        tracing::error!(
            plugin = name,
            generation,
            faults,
            "plugin_taken_back: it failed on calls that generation {instead} answers, which serves again"
        );
        let (at_ms, proved) = (system_now_ms(), judge.digest.to_string());
        // It has answered what the other failed on.
        self.builds.update(name, |record| record.note_rolled_back(&proved));
        self.builds.reject(&digest, Rejection { plugin: name.to_owned(), at_ms, faults, instead: proved });
        let taken_back = RolledBack::new(generation, digest.to_string(), at_ms, faults, Arc::clone(&trial.probation));
        self.statuses.update(name, |status| {
            status.standing = Some(PluginPhase::Proved);
            status.taken_back = Some(taken_back);
        });
        self.prune_builds();
    }

    /// Publishes the generation that a probation was against, and has states return to what they were before the other.
    pub(super) fn publish_previous(&mut self, name: &str, judge: &Arc<Loaded>) -> Result<(), crate::routes::Conflict> {
        self.serve_again(name, Arc::clone(judge))?;
        self.routes.notify_probation_end();
        Ok(())
    }

    /// Keeps the components that serve, and those that may have to again.
    pub(super) fn prune_builds(&mut self) {
        let served = self.plugins.values().flat_map(|entry| entry.serving.iter().chain(&entry.candidate));
        let served = served.map(|serving| serving.loaded.digest.to_string());
        // A task keeps the component that it has loaded, before the library makes a candidate of it.
        let loading = self.plugins.values().filter_map(|entry| entry.job.as_ref()?.build.as_ref());
        let wanted: BTreeSet<String> = served.chain(loading.map(Digest::to_string)).collect();
        let present: BTreeSet<&str> = self.plugins.keys().map(|name| &**name).collect();
        self.builds.prune(&wanted, &present);
    }
}
