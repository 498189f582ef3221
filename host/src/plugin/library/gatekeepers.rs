//! Gatekeepers: who guards the mounts that name nobody, and that such a mount doesn't stand open when its gatekeeper is gone.

use anyhow::{Result, bail};

use super::super::{Kind, Kinds, Likeness};
use super::control::CommandError;
use super::trial::{Serving, Trial};
use super::{Library, Loaded, scan};
use crate::routes::{Gatekeepers, NamedGatekeeper, ProbationResult};

impl Library {
    /// Has it remember which plugin is a gatekeeper, and miss those that were.
    pub fn remember(&mut self, kinds: Kinds) {
        for name in kinds.gatekeepers() {
            self.plugins.entry(name.to_owned()).or_default().is_missed = true;
            self.statuses.update(name, |status| status.kind = Kind::Gatekeeper.as_str());
        }
        self.kinds = kinds;
    }

    /// The gatekeepers among these, and those that are missed.
    pub(super) fn gatekeepers<'a>(&'a self, serving: impl Iterator<Item = &'a Serving>) -> Gatekeepers {
        let missed = self.plugins.iter().filter(|(_, entry)| entry.is_missed && entry.serving.is_none());
        let missed = missed.map(|(name, _)| (name.as_str().into(), NamedGatekeeper::Absent));
        Gatekeepers::new(missed.chain(serving.filter_map(Serving::gatekeeper)))
    }

    /// A plugin's file can't be served. If it may have been a gatekeeper, it is missed: nobody is let in at the mounts that
    /// name nobody. A file that can't be read as a component may have been anything, unless the host remembers what it was. Such a
    /// file counts at the start alone: while the host runs, it is new, perhaps half written, and takes no gatekeeper away.
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

    /// Refuses a component that is no gatekeeper in place of one that was: the mounts that it guarded would stand open.
    pub(super) fn check_kind(&mut self, name: &str, loaded: &Loaded) -> Result<()> {
        if loaded.anatomy.kind == Kind::Gatekeeper {
            return Ok(());
        }
        if self.kinds.of(name) == Some(Kind::Gatekeeper) {
            bail!(
                "it is no gatekeeper, but `{name}` was one, and mounts would stand open; `bennu plugins forget {name}` says \
                 that this is meant"
            );
        }
        // Its earlier content may have been a gatekeeper's. Now its kind is known.
        let entry = self.plugins.entry(name.to_owned()).or_default();
        if std::mem::take(&mut entry.is_missed) {
            self.publish_as_it_is();
        }
        Ok(())
    }

    /// Whether a generation would take the place of a gatekeeper, and is none.
    pub(super) fn would_open(&self, name: &str, instead: &Loaded) -> bool {
        self.kinds.of(name) == Some(Kind::Gatekeeper) && instead.gatekeeper().is_none()
    }

    /// Refuses a rollback to a generation that is no gatekeeper, where a gatekeeper serves.
    pub(super) fn check_gatekeeper(&self, name: &str, instead: &Loaded) -> Result<(), CommandError> {
        if self.would_open(name, instead) {
            let why = "the generation before is no gatekeeper, and mounts would stand open";
            return Err(CommandError::Refused(why.to_owned()));
        }
        Ok(())
    }

    /// Says which gatekeepers have no file, once the host has looked through its plugins. The others were refused with a line.
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

    /// What the log adds about a plugin that doesn't serve, if mounts are shut because of it.
    pub(super) fn consequence(&self, name: &str) -> String {
        let is_missed = self.plugins.get(name).is_some_and(|entry| entry.is_missed && entry.serving.is_none());
        if !is_missed || !self.one_gatekeeper {
            return String::new();
        }
        format!(
            "; since it was the gatekeeper or may be it, nobody is let in at mounts that don't say who decides: mend it, set \
             `auth`, `gatekeeper`, `token` or `jwt` of each mount, or say with `bennu plugins forget {name}` that it is gone for good"
        )
    }

    /// Forgets a plugin whose file is gone for good, or whose file now holds what is refused because the plugin was a gatekeeper.
    pub(super) fn forget(&mut self, name: &str) -> Result<(), CommandError> {
        let is_there = scan(&self.sources).plugins.contains_key(name);
        let entry = self.plugins.get(name).ok_or(CommandError::Unknown)?;
        // What is in the file may be refused because of what is to be forgotten.
        let is_refused = self.statuses.one(name).is_some_and(|status| status.last_error.is_some());
        let may_guard = entry.is_missed || self.kinds.of(name) == Some(Kind::Gatekeeper);
        if is_there && (!is_refused || !may_guard || entry.is_unloaded) {
            let why = "its file is there, so the host would find it again; remove the file before";
            return Err(CommandError::Refused(why.to_owned()));
        }
        self.abandon(name, "the plugin was forgotten meanwhile");
        self.kinds.forget(name);
        // What the next start would take for a probation under way is off the disk before the probation ends.
        self.builds.forget_plugin(name);
        let entry = self.plugins.remove(name);
        let trial = entry.and_then(|entry| entry.serving.and_then(|serving| serving.trial).or(entry.recalled));
        if let Some(Trial { probation, .. }) = trial {
            probation.end(ProbationResult::Passed);
            if probation.can_roll_back() {
                // Stored states may hold bytes of it, and let go of them now.
                self.past.entry(name.into()).or_default().push(probation);
            }
        }
        self.statuses.remove(name);
        tracing::info!(plugin = name, "plugin_forgotten");
        self.publish_as_it_is();
        self.routes.notify_probation_end();
        // Its topics are free for those that wanted them.
        self.publish_candidates();
        self.prune_builds();
        Ok(())
    }
}
