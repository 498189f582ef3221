//! Wishes granted: what operators ask of single plugins.

use std::sync::Arc;

use super::super::loader::Loaded;
use super::control::{Denied, Wish};
use super::trial::{Against, Serving, Trial};
use super::{Library, scan};
use crate::routes::Conflict;

impl Library {
    /// Does what was asked for.
    pub(super) async fn grant(&mut self, name: &str, wish: Wish) -> Result<(), Denied> {
        self.review();
        match wish {
            Wish::Reload => self.reload(name).await,
            Wish::Unload => self.unload(name),
            Wish::Rollback => self.roll_back(name).await,
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
            // It goes on when the plugin is loaded again.
            entry.recalled = serving.trial.filter(|trial| trial.probation.has_way_back());
            entry.previous = None;
        }
        self.publish_as_it_is();
        tracing::info!(plugin = name, "plugin_unloaded");
        self.shelf.update(name, |status| {
            status.is_unloaded = true;
            status.is_rolled_back = false;
            status.generation = 0;
            status.topics = Vec::new();
            status.standing = None;
            status.probation = None;
        });
        // Its topics are free for those that wanted them.
        self.publish_candidates();
        Ok(())
    }

    /// A generation on probation is taken back, by hand; after it, the generation before serves again.
    async fn roll_back(&mut self, name: &str) -> Result<(), Denied> {
        let entry = self.plugins.get(name).ok_or(Denied::Unknown)?;
        let conflict = |conflict: Conflict| Denied::Refused(conflict.to_string());
        match entry.serving.as_ref().and_then(|serving| serving.trial.clone()) {
            Some(Trial { against: Against::Build(judge), .. }) => {
                self.return_to_proved(name, &judge).map_err(conflict)?;
            }
            Some(Trial { against: Against::Lost(digest), .. }) => {
                let why = format!("the build before, {digest}, can't be loaded any more; the log says why");
                return Err(Denied::Refused(why));
            }
            Some(Trial { against: Against::Nothing, .. }) | None => {
                let previous = match entry.previous.clone() {
                    Some(previous) => Some(previous),
                    None => self.recall_before(name).await,
                };
                let none = || Denied::Refused("there is no generation before the one that serves".to_owned());
                self.serve_again(name, previous.ok_or_else(none)?).map_err(conflict)?;
            }
        }
        self.shelf.update(name, |status| status.is_rolled_back = true);
        Ok(())
    }

    /// Publishes a generation that has served before, perhaps since the one that serves has failed in a probation. There is
    /// nothing before it then: what failed is nothing to go back to, and a second wish doesn't lead forth again.
    pub(super) fn serve_again(&mut self, name: &str, loaded: Arc<Loaded>) -> Result<(), Conflict> {
        let trial = self.unless_known(name, &loaded.digest.to_string());
        let entry = self.plugins.entry(name.to_owned()).or_default();
        let waiting = entry.candidate.replace(Serving { loaded, trial, remark: None });
        let names = [name.to_owned()];
        if let Err(conflict) = self.table_with(&names) {
            self.plugins.entry(name.to_owned()).or_default().candidate = waiting;
            return Err(conflict);
        }
        // The verdict comes first there: what the other has taken over, this one is never given.
        self.publish(&names);
        if let Some(entry) = self.plugins.get_mut(name) {
            entry.previous = None;
            entry.has_gone_back = true;
        }
        Ok(())
    }
}
