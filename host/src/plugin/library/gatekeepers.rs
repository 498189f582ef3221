//! Finds the gatekeeper for mounts that name none, and keeps such mounts closed if their gatekeeper is missing.

use anyhow::{Result, bail};

use super::super::{Kind, Kinds, Likeness};
use super::control::CommandError;
use super::trial::{Serving, Trial};
use super::{Library, Loaded, scan};
use crate::routes::{Gatekeepers, NamedGatekeeper, ProbationResult};

impl Library {
    /// Sets the record of the plugins' kinds. Each former gatekeeper counts as missing until it is loaded.
    pub fn remember(&mut self, kinds: Kinds) {
        for name in kinds.gatekeepers() {
            self.plugins.entry(name.to_owned()).or_default().is_missed = true;
            self.statuses.update(name, |status| status.kind = Kind::Gatekeeper.as_str());
        }
        self.kinds = kinds;
    }

    /// Returns the gatekeepers among these generations, and the missing ones.
    pub(super) fn gatekeepers<'a>(&'a self, serving: impl Iterator<Item = &'a Serving>) -> Gatekeepers {
        let missed = self.plugins.iter().filter(|(_, entry)| entry.is_missed && entry.serving.is_none());
        let missed = missed.map(|(name, _)| (name.as_str().into(), NamedGatekeeper::Absent));
        Gatekeepers::new(missed.chain(serving.filter_map(Serving::gatekeeper)))
    }

    /// Handles a file that can't be loaded. If the plugin may have been a gatekeeper, it counts as missing, and
    /// mounts that name no gatekeeper let nobody in.
    ///
    /// A file that can't be read as a component may have been anything, unless the plugin's kind is recorded. Such a
    /// file counts only at the start. While the host runs, the file is new and perhaps half written, and the
    /// gatekeeper still serves.
    pub(super) fn note_missing(&mut self, name: &str, likeness: Likeness) {
        let may_be = match likeness {
            Likeness::Gatekeeper => true,
            Likeness::Unknown => self.is_starting && self.kinds.of(name) != Some(Kind::Plugin),
            Likeness::Other => false,
        };
        let entry = self.plugins.entry(name.to_owned()).or_default();
        if may_be && !entry.is_missed {
            entry.is_missed = true;
            self.publish_as_it_is();
        }
    }

    /// Refuses a plugin in place of a former gatekeeper, because the gatekeeper's mounts would be open to everyone.
    pub(super) fn check_kind(&mut self, name: &str, loaded: &Loaded) -> Result<()> {
        if loaded.anatomy.kind == Kind::Gatekeeper {
            return Ok(());
        }
        if self.kinds.of(name) == Some(Kind::Gatekeeper) {
            bail!(
                "it is not a gatekeeper, but `{name}` was one, so mounts would be open to everyone; if you want this, run \
                 `bennu plugins forget {name}`"
            );
        }
        // Its earlier content could have been a gatekeeper's, so it counted as missing. Now its kind is known.
        let entry = self.plugins.entry(name.to_owned()).or_default();
        if std::mem::take(&mut entry.is_missed) {
            self.publish_as_it_is();
        }
        Ok(())
    }

    /// Returns whether a generation that is not a gatekeeper would replace a gatekeeper.
    pub(super) fn would_open(&self, name: &str, instead: &Loaded) -> bool {
        self.kinds.of(name) == Some(Kind::Gatekeeper) && instead.gatekeeper().is_none()
    }

    /// Refuses a rollback from a gatekeeper to a generation that is not one.
    pub(super) fn check_gatekeeper(&self, name: &str, instead: &Loaded) -> Result<(), CommandError> {
        if self.would_open(name, instead) {
            let why = "the previous generation is not a gatekeeper, so mounts would be open to everyone";
            return Err(CommandError::Refused(why.to_owned()));
        }
        Ok(())
    }

    /// Logs the gatekeepers without a file, after the first scan. The refusal of the others has been logged already.
    pub(super) fn log_missing(&self) {
        for (name, _) in self.plugins.iter().filter(|(_, entry)| entry.is_missed && entry.serving.is_none()) {
            let is_absent = self.plugins.get(name).is_some_and(|entry| entry.seen.is_none());
            if is_absent {
                let why = "its file is gone, and it was a gatekeeper".to_owned();
                tracing::error!(plugin = name, "plugin_missed: {why}{}", self.consequence(name));
                self.statuses.update(name, |status| status.last_error = Some(why));
            }
        }
    }

    /// Returns the text that the log adds about a plugin that doesn't serve, if mounts are closed because of it.
    pub(super) fn consequence(&self, name: &str) -> String {
        let is_missed = self.plugins.get(name).is_some_and(|entry| entry.is_missed && entry.serving.is_none());
        if !is_missed || !self.one_gatekeeper {
            return String::new();
        }
        format!(
            "; it was or may be the gatekeeper, so mounts without authentication settings let nobody in: repair it, set \
             `auth`, `gatekeeper`, `token` or `jwt` of each mount, or run `bennu plugins forget {name}` if it is gone"
        )
    }

    /// Removes a plugin. Its file must be gone, or must be refused because the plugin was a gatekeeper.
    pub(super) fn forget(&mut self, name: &str) -> Result<(), CommandError> {
        let is_there = scan(&self.sources).plugins.contains_key(name);
        let entry = self.plugins.get(name).ok_or(CommandError::Unknown)?;
        // The file may be refused because of the record that this command removes.
        let is_refused = self.statuses.one(name).is_some_and(|status| status.last_error.is_some());
        let may_guard = entry.is_missed || self.kinds.of(name) == Some(Kind::Gatekeeper);
        if is_there && (!is_refused || !may_guard || entry.is_unloaded) {
            let why = "its file is there, so the host would find it again; remove the file first";
            return Err(CommandError::Refused(why.to_owned()));
        }
        self.abandon(name, "the plugin was forgotten meanwhile");
        self.kinds.forget(name);
        // The record goes first: the next start would continue the probation in it, but here the probation ends.
        self.builds.forget_plugin(name);
        let entry = self.plugins.remove(name);
        let trial = entry.and_then(|entry| entry.serving.and_then(|serving| serving.trial).or(entry.recalled));
        if let Some(Trial { probation, .. }) = trial {
            probation.end(ProbationResult::Passed);
            if probation.can_roll_back() {
                // Stored states may still contain earlier versions from this probation, and drop them now.
                self.past.entry(name.into()).or_default().push(probation);
            }
        }
        self.statuses.remove(name);
        tracing::info!(plugin = name, "plugin_forgotten");
        self.publish_as_it_is();
        self.routes.notify_probation_end();
        // Other plugins' candidates may now serve its topics.
        self.publish_candidates();
        self.prune_builds();
        Ok(())
    }
}
