//! Runs the commands of operators.

use std::sync::Arc;

use super::super::loader::{Loaded, Loader};
use super::control::{Asked, Command, CommandError, CommandRequest, LibraryConfig, PauseRequest};
use super::jobs::{Answer, ROLLED_BACK, Why};
use super::trial::{Against, Serving, Trial};
use super::{Library, scan};
use crate::routes::Conflict;

impl Library {
    /// Does what the rest of the host asks for.
    pub(super) async fn handle(&mut self, asked: Asked) {
        match asked {
            Asked::Command(asked) if self.cluster.is_some() && asked.command != Command::Reload => self.pass_on(asked),
            Asked::Command(asked) => self.run(asked),
            Asked::Configure(config) => self.configure(*config),
            Asked::InCluster(order) => self.follow(order),
            Asked::Pause(PauseRequest { begun, over }) => {
                self.review();
                let _ = begun.send(());
                // An error is the end of the pause: nothing is ever sent.
                let _ = over.await;
            }
        }
    }

    /// Runs a command, and answers when it is done. A reload or a rollback may need a load; then the answer follows
    /// when the load has ended.
    pub(super) fn run(&mut self, CommandRequest { plugin, command, answer }: CommandRequest) {
        self.review();
        let granted = match command {
            Command::Reload => return self.reload(&plugin, answer),
            Command::Rollback => return self.roll_back(&plugin, answer),
            Command::Unload => self.unload(&plugin),
            Command::Forget => self.forget(&plugin),
        };
        self.refuse_candidates();
        // The operator may have disconnected.
        let _ = answer.send(granted);
    }

    /// Uses other settings for each later load. Running loads continue with the former ones.
    pub(super) fn configure(&mut self, config: LibraryConfig) {
        let LibraryConfig { options, call_limits, pool_limits } = config;
        if let Some(cluster) = &self.cluster {
            cluster.terms.store(Arc::new(options.probation));
        }
        self.options = options;
        self.loader = Arc::new(Loader { call_limits, pool_limits, ..Loader::clone(&self.loader) });
    }

    fn reload(&mut self, name: &str, answer: Answer) {
        let found = scan(&self.sources);
        let Some((path, _)) = found.plugins.get(name) else {
            if self.cluster.is_some() {
                // The build that serves in the cluster is rolled out again.
                return self.pass_on(CommandRequest { plugin: name.to_owned(), command: Command::Reload, answer });
            }
            let is_known = self.plugins.contains_key(name);
            let gone = || CommandError::Refused("its file is gone; put it back, or unload the plugin".to_owned());
            let _ = answer.send(Err(if is_known { gone() } else { CommandError::Unknown }));
            return;
        };
        self.plugins.entry(name.to_owned()).or_default().is_unloaded = false;
        self.statuses.update(name, |status| status.is_unloaded = false);
        self.begin(name, path, None, Why::Asked, Some(answer));
    }

    pub(super) fn unload(&mut self, name: &str) -> Result<(), CommandError> {
        self.abandon(name, "the plugin was unloaded meanwhile");
        let entry = self.plugins.get_mut(name).ok_or(CommandError::Unknown)?;
        entry.candidate = None;
        entry.is_unloaded = true;
        if let Some(serving) = entry.serving.take() {
            // Mounts that depended on this gatekeeper must not be open to everyone now.
            entry.is_missed = entry.is_missed || serving.gatekeeper().is_some();
            // The probation continues when the plugin is loaded again.
            entry.recalled = serving.trial.filter(|trial| trial.probation.can_roll_back());
            entry.previous = None;
        }
        self.publish_as_it_is();
        tracing::info!(plugin = name, "plugin_unloaded");
        self.statuses.update(name, |status| {
            status.is_unloaded = true;
            status.is_rolled_back = false;
            status.generation = 0;
            status.topics = Vec::new();
            status.standing = None;
            status.probation = None;
        });
        // Other plugins' candidates may now serve its topics.
        self.publish_candidates();
        Ok(())
    }

    /// Rolls a plugin back: if the serving generation is on probation, to the build before the probation, and
    /// otherwise to the previous generation. A running load of the plugin is cancelled, because the operator wants an
    /// older build until the file changes again.
    fn roll_back(&mut self, name: &str, answer: Answer) {
        let granted = match self.build_before(name) {
            Ok(Some((before, ends_probation))) => self.roll_back_to(name, before, ends_probation),
            // That build served before the host's start, so it is loaded first.
            Ok(None) => return self.recall_before(name, answer),
            Err(denied) => Err(denied),
        };
        self.refuse_candidates();
        // The operator may have disconnected.
        let _ = answer.send(granted);
    }

    /// Returns the target of a rollback, if it is loaded, and whether the rollback ends a probation.
    fn build_before(&self, name: &str) -> Result<Option<(Arc<Loaded>, bool)>, CommandError> {
        let entry = self.plugins.get(name).ok_or(CommandError::Unknown)?;
        match entry.serving.as_ref().and_then(|serving| serving.trial.as_ref()) {
            Some(Trial { against: Against::Build(previous), .. }) => Ok(Some((Arc::clone(previous), true))),
            Some(Trial { against: Against::Lost(digest), .. }) => {
                let why = format!("the previous build, {digest}, can't be loaded any more; the log says why");
                Err(CommandError::Refused(why))
            }
            Some(Trial { against: Against::Nothing, .. }) | None => {
                Ok(entry.previous.clone().map(|previous| (previous, false)))
            }
        }
    }

    fn roll_back_to(&mut self, name: &str, before: Arc<Loaded>, ends_probation: bool) -> Result<(), CommandError> {
        self.check_gatekeeper(name, &before)?;
        let conflict = |conflict: Conflict| CommandError::Refused(conflict.to_string());
        if ends_probation {
            self.publish_previous(name, &before).map_err(conflict)?;
        } else {
            self.serve_again(name, before).map_err(conflict)?;
        }
        self.abandon(name, ROLLED_BACK);
        self.statuses.update(name, |status| {
            status.is_rolled_back = true;
            status.loads.rolled_back += 1;
        });
        Ok(())
    }

    /// Publishes a generation that has served before. Afterwards no rollback is possible, because the build that was
    /// rolled back can't be the target of another rollback.
    pub(super) fn serve_again(&mut self, name: &str, loaded: Arc<Loaded>) -> Result<(), Conflict> {
        let trial = self.unless_known(name, &loaded.digest.to_string());
        let entry = self.plugins.entry(name.to_owned()).or_default();
        let waiting = entry.candidate.replace(Serving { loaded, trial, remark: None });
        let names = [name.to_owned()];
        if let Err(conflict) = self.table_with(&names) {
            self.plugins.entry(name.to_owned()).or_default().candidate = waiting;
            return Err(conflict);
        }
        // `publish` records and ends the probation first. So the older generation never gets a state that the newer
        // one has upgraded.
        self.publish(&names);
        if let Some(entry) = self.plugins.get_mut(name) {
            entry.previous = None;
            entry.has_gone_back = true;
        }
        Ok(())
    }
}
