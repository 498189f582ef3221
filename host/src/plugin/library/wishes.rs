//! Wishes granted: what operators ask of single plugins.

use super::control::{Denied, Wish};
use super::{Library, scan};

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
        if let Err(error) = self.load(name, path, true).await {
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
            entry.previous = None;
        }
        self.publish_as_it_is();
        tracing::info!(plugin = name, "plugin_unloaded");
        self.shelf.update(name, |status| {
            status.is_unloaded = true;
            status.is_rolled_back = false;
            status.generation = 0;
            status.topics = Vec::new();
        });
        // Its topics are free for those that wanted them.
        self.publish_candidates();
        Ok(())
    }

    fn roll_back(&mut self, name: &str) -> Result<(), Denied> {
        let entry = self.plugins.get_mut(name).ok_or(Denied::Unknown)?;
        let none = || Denied::Refused("there is no generation before the one that serves".to_owned());
        let previous = entry.previous.take().ok_or_else(none)?;
        let waiting = entry.candidate.replace(previous);
        let names = [name.to_owned()];
        match self.table_with(&names) {
            Ok(table) => {
                self.publish(table, &names);
                self.shelf.update(name, |status| status.is_rolled_back = true);
                Ok(())
            }
            Err(conflict) => {
                let entry = self.plugins.entry(name.to_owned()).or_default();
                entry.previous = std::mem::replace(&mut entry.candidate, waiting);
                Err(Denied::Refused(conflict.to_string()))
            }
        }
    }
}
