//! New generations on probation: which may be taken back, which has proved itself, and the way back.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::Digest;
use super::super::builds::Rejection;
use super::super::loader::Loaded;
use super::super::status::TakenBack;
use super::Library;
use crate::contract::system_now_ms;
use crate::routes::{Guard, Probation, Route, RouteSpec, Verdict};

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
    pub(super) proved: Arc<Loaded>,
}

impl Serving {
    /// One that has nothing to prove.
    pub(super) fn proved(loaded: Arc<Loaded>) -> Self {
        Self { loaded, trial: None, remark: None }
    }

    /// Its routes, for the table.
    pub(super) fn table(&self) -> Vec<Arc<Route>> {
        let trial = self.trial.as_ref();
        self.loaded.table(trial.map(|Trial { probation, proved }| (probation, &**proved))).collect()
    }

    pub(super) fn guard(&self) -> Option<(Arc<str>, Guard)> {
        self.loaded.guard()
    }
}

impl Library {
    /// What a build that was just loaded has to prove itself against: the generation that serves, or, if that is on probation
    /// itself, the one before it.
    pub(super) fn trial_of(&self, name: &str, loaded: &Loaded) -> Option<Trial> {
        let serving = self.plugins.get(name)?.serving.as_ref()?;
        if let Some(trial) = &serving.trial {
            return Some(trial.clone());
        }
        let is_another = serving.loaded.digest != loaded.digest;
        let is_wanted = !self.terms.probation.time.is_zero() && is_another && loaded.guard().is_none();
        is_wanted.then(|| Trial {
            probation: Probation::new(self.terms.probation, Arc::clone(&self.news)),
            proved: Arc::clone(&serving.loaded),
        })
    }

    /// The trial of a generation, if the build that it has to prove itself against is put back in its file, and states would
    /// have to be taken over for that. It couldn't read what it doesn't know; but what they were before is still there.
    pub(super) fn way_back(&self, name: &str, digest: &Digest) -> Option<Trial> {
        let serving = self.plugins.get(name)?.serving.as_ref()?;
        let versions = |loaded: &Loaded| -> Vec<_> {
            let version = |route: &RouteSpec| (route.pattern.clone(), route.assigns_version, route.room_version);
            loaded.routes.iter().map(version).collect()
        };
        let trial = serving.trial.clone().filter(|trial| trial.proved.digest == *digest)?;
        if self.would_open(name, &trial.proved) {
            return None;
        }
        (versions(&serving.loaded) != versions(&trial.proved)).then_some(trial)
    }

    /// Looks at those on probation: which has failed, and which has proved itself.
    pub(super) fn review(&mut self) {
        let on_trial = |entry: &super::Entry| entry.serving.as_ref()?.trial.clone();
        let trials: Vec<_> =
            self.plugins.iter().filter_map(|(name, entry)| Some((name.clone(), on_trial(entry)?))).collect();
        for (name, trial) in trials {
            if trial.probation.has_failed() {
                self.take_back(&name, &trial);
            } else if trial.probation.is_over() {
                self.prove(&name, &trial);
            }
        }
    }

    fn prove(&mut self, name: &str, trial: &Trial) {
        trial.probation.end(Verdict::Passed);
        if let Some(serving) = self.plugins.get_mut(name).and_then(|entry| entry.serving.as_mut()) {
            serving.trial = None;
            tracing::info!(plugin = name, generation = serving.loaded.generation(), "plugin_proved");
        }
        // One that waits to be published has this one to prove itself against.
        if let Some(waiting) = self.plugins.get_mut(name).and_then(|entry| entry.candidate.take()) {
            let trial = self.trial_of(name, &waiting.loaded);
            self.plugins.entry(name.to_owned()).or_default().candidate = Some(Serving { trial, ..waiting });
        }
        self.shelf.update(name, |status| status.probation = None);
        self.publish_as_it_is();
        self.routes.tell_verdict();
        self.prune_builds();
    }

    /// Lets the generation that has proved itself serve again, and remembers the build that hasn't.
    fn take_back(&mut self, name: &str, trial: &Trial) {
        let Some(serving) = self.plugins.get(name).and_then(|entry| entry.serving.clone()) else { return };
        let (digest, faults) = (serving.loaded.digest, trial.probation.faults());
        if let Err(conflict) = self.return_to_proved(name, trial) {
            // Another plugin has taken topics that the new generation didn't want: there is no way back.
            tracing::error!(plugin = name, "plugin_not_taken_back: {conflict}");
            return self.prove(name, trial);
        }
        let (generation, instead) = (serving.loaded.generation(), trial.proved.generation());
        tracing::error!(
            plugin = name,
            generation,
            faults,
            "plugin_taken_back: it failed on calls that generation {instead} answers, which serves again"
        );
        let (at_ms, proved) = (system_now_ms(), trial.proved.digest.to_string());
        self.builds.reject(&digest, Rejection { plugin: name.to_owned(), at_ms, faults, instead: proved });
        let taken_back = TakenBack::new(generation, digest.to_string(), at_ms, faults, Arc::clone(&trial.probation));
        self.shelf.update(name, |status| status.taken_back = Some(taken_back));
        self.prune_builds();
    }

    /// Publishes the generation that has proved itself, and has states return to what they were before the other.
    pub(super) fn return_to_proved(&mut self, name: &str, trial: &Trial) -> Result<(), crate::routes::Conflict> {
        self.serve_again(name, Arc::clone(&trial.proved), Some(&trial.probation))?;
        if let Some(entry) = self.plugins.get_mut(name) {
            // What failed is nothing to go back to.
            entry.previous = None;
        }
        self.routes.tell_verdict();
        Ok(())
    }

    /// Keeps the components that serve, and those that may have to again.
    pub(super) fn prune_builds(&self) {
        let served = self.plugins.values().filter_map(|entry| entry.serving.as_ref());
        let proved = |serving: &Serving| serving.trial.as_ref().map(|trial| trial.proved.digest.to_string());
        let wanted: BTreeSet<String> =
            served.flat_map(|serving| proved(serving).into_iter().chain([serving.loaded.digest.to_string()])).collect();
        self.builds.prune(&wanted);
    }
}
