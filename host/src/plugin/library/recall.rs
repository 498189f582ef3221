//! Builds of earlier starts of the host: what a plugin's file has to prove itself against when nothing serves yet, and what a
//! rollback leads to.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::sync::Notify;

use super::super::builds::Rejection;
use super::super::guest::Origin;
use super::super::history::EndedProbation;
use super::super::loader::Loaded;
use super::super::scan::Found;
use super::super::{Builds, Digest};
use super::Library;
use super::trial::{Against, Trial};
use crate::routes::{Probation, Verdict};

impl Library {
    /// Before a build is loaded where nothing serves: gets ready what it has to prove itself against, if it isn't the build that
    /// was proved last. A probation that was under way goes on: its time and its counts begin anew, and what states were before
    /// is still there.
    pub(super) async fn recall(&mut self, name: &str, digest: &Digest) {
        let entry = self.plugins.entry(name.to_owned()).or_default();
        if entry.serving.is_some() || entry.recalled.is_some() || self.terms.probation.time.is_zero() {
            return;
        }
        let record = self.builds.record(name);
        let Some(judge) = record.judge().filter(|judge| **judge != digest.to_string()) else { return };
        let against = match self.load_kept(name, judge).await {
            Ok(loaded) => Against::Build(loaded),
            Err(error) => {
                tracing::error!(
                    plugin = name,
                    "the build that was proved last can't be loaded, so there is no way back to it: {error:#}"
                );
                Against::Lost(judge.clone())
            }
        };
        let (terms, news) = (self.terms.probation, Arc::clone(&self.news));
        let probation = match &record.open {
            Some(open) => Probation::resumed(open.id, terms, news),
            None => Probation::new(terms, news),
        };
        self.plugins.entry(name.to_owned()).or_default().recalled = Some(Trial { probation, against });
    }

    /// The component that serves in place of a build that was taken back: the one that was proved last, or at least the one that
    /// served again then.
    pub(super) fn kept_instead(&self, name: &str, rejection: &Rejection) -> Option<Bytes> {
        let record = self.builds.record(name);
        let mut known = record.judge().into_iter().chain([&rejection.instead]);
        known.find_map(|digest| self.builds.kept(digest)).map(Bytes::from)
    }

    /// The build before the one that serves, for a rollback after a restart. None after the plugin has gone back already.
    pub(super) async fn recall_before(&mut self, name: &str) -> Option<Arc<Loaded>> {
        let entry = self.plugins.get(name).filter(|entry| !entry.has_gone_back)?;
        let serves = entry.serving.as_ref()?.loaded.digest.to_string();
        let before = self.builds.record(name).way_back_from(&serves)?.clone();
        let loaded = self.load_kept(name, &before).await;
        loaded.inspect_err(|error| tracing::error!(plugin = name, "the build before can't be loaded: {error:#}")).ok()
    }

    /// Loads a component that was kept, as a generation of its own.
    async fn load_kept(&mut self, name: &str, digest: &str) -> Result<Arc<Loaded>> {
        let kept = self.builds.kept(digest).map(Bytes::from);
        let bytes = kept.with_context(|| format!("the component {digest} that was kept of it is gone or damaged"))?;
        let origin = self.next_origin(name)?;
        let generation = origin.generation;
        let loaded = self.loader.load(bytes.clone(), Digest::of(&bytes), origin).await?;
        self.plugins.entry(name.to_owned()).or_default().generation = generation;
        Ok(Arc::new(loaded))
    }

    /// What the next load of a plugin is given.
    pub(super) fn next_origin(&self, name: &str) -> Result<Arc<Origin>> {
        let generation = self.plugins.get(name).map_or(0, |entry| entry.generation) + 1;
        Ok(Arc::new(self.terms.settings.origin(name, generation)?))
    }

    /// At the start: says which plugins have served before and have no file now. None of them is served: whoever took the file
    /// away may have meant it.
    pub(super) fn say_absent(&self, found: &Found) {
        for (name, record) in self.builds.history() {
            if record.judge().is_some() && !found.plugins.contains_key(name) {
                tracing::warn!(
                    plugin = name,
                    "plugin_file_absent: it has served before, and has no file now, so it is not served"
                );
            }
        }
    }
}

/// The probations of earlier starts that have ended and may still hold bytes of stored states.
pub(super) fn past_of(builds: &Builds, news: &Arc<Notify>) -> BTreeMap<Arc<str>, Vec<Arc<Probation>>> {
    let ended = |ended: &EndedProbation| {
        let verdict = if ended.is_taken_back { Verdict::TakenBack } else { Verdict::Passed };
        Probation::ended(ended.id, verdict, Arc::clone(news))
    };
    let records = builds.history().iter().filter(|(_, record)| !record.ended.is_empty());
    records.map(|(name, record)| (name.as_str().into(), record.ended.iter().map(ended).collect())).collect()
}
