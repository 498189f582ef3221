//! Wishes granted: what operators ask of single plugins.

use std::sync::Arc;

use super::super::loader::Loaded;
use super::control::{Denied, Wish};
use super::trial::Serving;
use super::{Library, scan};
use crate::routes::{Conflict, Probation, Verdict};

impl Library {
    /// Does what was asked for.
    pub(super) async fn grant(&mut self, name: &str, wish: Wish) -> Result<(), Denied> {
        match wish {
            Wish::Reload => self.reload(name).await,
            Wish::Unload => self.unload(name),
            Wish::Rollback => self.roll_back(name),
        }
    }

    async fn reload(&mut self, name: &str) -> Result<(), Denied> {
        let found = scan(&self.sources);
        let Some((path, _)) = found.plugins.get(name) else {
            let is_known = self.plugins.contains_key(name);
            let gone = || Denied::Refused("its file is gone; put it back, or unload the plugin".to_owned());
            return Err(if is_known { gone() } else { Denied::Unknown });
        };
        self.plugins.entry(name.to_owned()).or_default().is_unloaded = false;
        self.shelf.update(name, |status| status.is_unloaded = false);
        if let Err(error) = self.load(name, path, None, true).await {
            let why = format!("{error:#}");
            self.refuse(name, path, &why);
            return Err(Denied::Refused(why));
        }
        self.publish_candidates();
        match self.conflict_of(name) {
            None => Ok(()),
            Some(conflict) => {
                self.refuse(name, path, &conflict.to_string());
                Err(Denied::Refused(conflict.to_string()))
            }
        }
    }

    fn unload(&mut self, name: &str) -> Result<(), Denied> {
        let entry = self.plugins.get_mut(name).ok_or(Denied::Unknown)?;
        entry.candidate = None;
        entry.is_unloaded = true;
        if let Some(serving) = entry.serving.take() {
            // A mount must not stand open for it.
            entry.is_missed = serving.guard().is_some();
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

    /// A generation on probation is taken back, by hand; after it, the generation before serves again.
    fn roll_back(&mut self, name: &str) -> Result<(), Denied> {
        let entry = self.plugins.get_mut(name).ok_or(Denied::Unknown)?;
        let none = || Denied::Refused("there is no generation before the one that serves".to_owned());
        let conflict = |conflict: Conflict| Denied::Refused(conflict.to_string());
        match entry.serving.as_ref().and_then(|serving| serving.trial.clone()) {
            Some(trial) => self.return_to_proved(name, &trial).map_err(conflict)?,
            None => {
                let previous = entry.previous.clone().ok_or_else(none)?;
                self.serve_again(name, previous, None).map_err(conflict)?;
                // The later build isn't before this one, and a second wish doesn't lead forth again.
                if let Some(entry) = self.plugins.get_mut(name) {
                    entry.previous = None;
                }
            }
        }
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
