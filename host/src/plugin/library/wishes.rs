//! Wishes granted: what operators ask of single plugins.

use std::sync::Arc;

use super::super::loader::Loaded;
use super::control::{Asked, Denied, Wish};
use super::jobs::{Answer, Why};
use super::trial::Serving;
use super::{Library, scan};
use crate::routes::{Conflict, Probation, Verdict};

impl Library {
    /// Does what was asked for, and answers when it is done: a reload once it has come to its end, all else at once.
    pub(super) fn grant(&mut self, Asked { plugin, wish, answer }: Asked) {
        let granted = match wish {
            Wish::Reload => return self.reload(&plugin, answer),
            Wish::Unload => self.unload(&plugin),
            Wish::Rollback => self.roll_back(&plugin),
            Wish::Forget => self.forget(&plugin),
        };
        self.refuse_candidates();
        // Who asked may have gone.
        let _ = answer.send(granted);
    }

    fn reload(&mut self, name: &str, answer: Answer) {
        let found = scan(&self.sources);
        let Some((path, _)) = found.plugins.get(name) else {
            let is_known = self.plugins.contains_key(name);
            let gone = || Denied::Refused("its file is gone; put it back, or unload the plugin".to_owned());
            let _ = answer.send(Err(if is_known { gone() } else { Denied::Unknown }));
            return;
        };
        self.plugins.entry(name.to_owned()).or_default().is_unloaded = false;
        self.shelf.update(name, |status| status.is_unloaded = false);
        self.begin(name, path, None, Why::Asked, Some(answer));
    }

    fn unload(&mut self, name: &str) -> Result<(), Denied> {
        self.abandon(name, "the plugin was unloaded meanwhile");
        let entry = self.plugins.get_mut(name).ok_or(Denied::Unknown)?;
        entry.candidate = None;
        entry.is_unloaded = true;
        if let Some(serving) = entry.serving.take() {
            // A mount must not stand open for it.
            entry.is_missed = entry.is_missed || serving.guard().is_some();
            if let Some(trial) = serving.trial {
                trial.probation.end(Verdict::Passed);
            }
            entry.previous = None;
        }
        self.publish_as_it_is();
        tracing::info!(plugin = name, "plugin_unloaded");
        self.shelf.update(name, |status| {
            status.is_unloaded = true;
            status.is_rolled_back = false;
            status.generation = 0;
            status.topics = Vec::new();
            status.probation = None;
        });
        // Its topics are free for those that wanted them.
        self.publish_candidates();
        Ok(())
    }

    /// A generation on probation is taken back, by hand; after it, the generation before serves again. A load of this plugin that
    /// is under way is given up: what is wanted is an older build, until the file changes once more.
    fn roll_back(&mut self, name: &str) -> Result<(), Denied> {
        let entry = self.plugins.get_mut(name).ok_or(Denied::Unknown)?;
        let none = || Denied::Refused("there is no generation before the one that serves".to_owned());
        let conflict = |conflict: Conflict| Denied::Refused(conflict.to_string());
        let trial = entry.serving.as_ref().and_then(|serving| serving.trial.clone());
        let before = trial.as_ref().map(|trial| Arc::clone(&trial.proved)).or_else(|| entry.previous.clone());
        let before = before.ok_or_else(none)?;
        if self.would_open(name, &before) {
            let why = "the generation before is no gatekeeper, and mounts would stand open";
            return Err(Denied::Refused(why.to_owned()));
        }
        match trial {
            Some(trial) => self.return_to_proved(name, &trial).map_err(conflict)?,
            None => {
                self.serve_again(name, before, None).map_err(conflict)?;
                // The later build isn't before this one, and a second wish doesn't lead forth again.
                if let Some(entry) = self.plugins.get_mut(name) {
                    entry.previous = None;
                }
            }
        }
        self.abandon(name, "the plugin was rolled back meanwhile");
        self.shelf.update(name, |status| status.is_rolled_back = true);
        Ok(())
    }

    /// Publishes a generation that has served before, perhaps since the one that serves has failed in a probation.
    pub(super) fn serve_again(
        &mut self,
        name: &str,
        loaded: Arc<Loaded>,
        failed: Option<&Probation>,
    ) -> Result<(), Conflict> {
        let entry = self.plugins.entry(name.to_owned()).or_default();
        let waiting = entry.candidate.replace(Serving::proved(loaded));
        let names = [name.to_owned()];
        match self.table_with(&names) {
            Ok(table) => {
                // First the verdict: what the other has taken over, this one is never given.
                if let Some(probation) = failed {
                    probation.end(Verdict::TakenBack);
                }
                self.publish(table, &names);
                Ok(())
            }
            Err(conflict) => {
                self.plugins.entry(name.to_owned()).or_default().candidate = waiting;
                Err(conflict)
            }
        }
    }
}
