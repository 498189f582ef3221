//! Records and reports in the database that can't be read: a later version of bennu has written them, or somebody else.
//!
//! All other plugins go on. A plugin whose record can't be read stays at this node as it is: it isn't withdrawn, because nobody has said
//! so, and nothing is rolled out in its place, because that would replace the record. What the database keeps for it stays there: a
//! change of other records removes no build. And no other plugin gets what may be its own: the name of its data, and its topics.

use std::collections::{BTreeMap, BTreeSet};

use bennu_cluster::rollout::{PluginRecord, UnreadableRow};

use super::driver::Rollouts;
use super::local::Local;
use crate::plugin::ClusterPluginStatus;

impl Rollouts {
    /// Takes the reasons why some records can't be read, which were read together with the others.
    pub(super) async fn take_unread(&mut self, unread: BTreeMap<String, String>, is_first: bool) {
        if is_first {
            // What can't be read may have been a gatekeeper. Mounts that depend on one let nobody in until that is known: otherwise they
            // would be open to everyone.
            let known = self.records.iter().filter(|(_, record)| record.is_gatekeeper).map(|(name, _)| name);
            let gatekeepers = known.chain(unread.keys()).cloned().collect();
            self.plugins.remember_gatekeepers(gatekeepers).await;
            self.presumed_gatekeepers = unread.keys().cloned().collect();
        } else {
            self.review_presumed(&unread).await;
            self.presume_prepared(&unread).await;
        }
        self.offer_again(&unread).await;
        for name in unread.keys() {
            // If the record is removed, the plugin is forgotten like one that was read before.
            self.locals.entry(name.clone()).or_default();
        }
        self.unread = unread;
    }

    /// Looks at the plugins that count as gatekeepers, and whose records can be read now. One that is a gatekeeper is missing until it
    /// serves: to forget it before would open its mounts to everyone. One without a record is forgotten together with the plugin.
    async fn review_presumed(&mut self, unread: &BTreeMap<String, String>) {
        let presumed = std::mem::take(&mut self.presumed_gatekeepers);
        let (still, known) = presumed.into_iter().partition::<BTreeSet<_>, _>(|name| unread.contains_key(name));
        self.presumed_gatekeepers = still;
        for name in known {
            if self.records.get(&name).is_some_and(|record| !record.is_gatekeeper) {
                self.plugins.clear_gatekeeper(&name).await;
            }
        }
    }

    /// Looks at the plugins whose records can't be read any more. If this node has prepared a gatekeeper that doesn't serve yet, the record
    /// may say that it serves now. So the mounts that depend on it let nobody in: otherwise they would be open to everyone, at this node
    /// alone.
    async fn presume_prepared(&mut self, unread: &BTreeMap<String, String>) {
        let lost = unread.keys().filter(|name| !self.unread.contains_key(*name));
        let prepared = lost.filter(|name| self.locals.get(*name).is_some_and(Local::has_prepared_gatekeeper));
        let prepared: Vec<String> = prepared.cloned().collect();
        if !prepared.is_empty() {
            self.presumed_gatekeepers.extend(prepared.iter().cloned());
            self.plugins.remember_gatekeepers(prepared).await;
        }
    }

    /// Notes that a plugin's file was refused. Once all records can be read, it may be accepted.
    pub(super) fn note_refused(&mut self, plugin: &str) {
        if !self.unread.is_empty() {
            self.refused_files.insert(plugin.to_owned());
        }
    }

    /// Has the files read again that were refused because of records that can be read now.
    async fn offer_again(&mut self, unread: &BTreeMap<String, String>) {
        let refused = std::mem::take(&mut self.refused_files);
        let (again, later) = refused.into_iter().partition::<BTreeSet<_>, _>(|name| {
            !unread.contains_key(name) && (unread.is_empty() || self.unread.contains_key(name))
        });
        self.refused_files = later;
        for name in again {
            self.plugins.offer_again(&name).await;
        }
    }

    /// Counts what can't be read, and logs it if that is new. A row is logged once, also if what it contains changes. `reports` are some of
    /// the reports, which are logged; all of them are counted.
    pub(super) fn note_unread(&mut self, reports: Vec<UnreadableRow>, report_count: usize) {
        self.peers.count_unreadable_rows(self.unread.len() + report_count);
        let records = self.unread.iter().map(|(plugin, why)| UnreadableRow {
            row: format!("the record of the plugin {plugin:?}"),
            why: why.clone(),
        });
        let found: Vec<UnreadableRow> = records.chain(reports).collect();
        for UnreadableRow { row, why } in found.iter().filter(|found| !self.logged_unreadable.contains(&found.row)) {
            tracing::error!(
                "registry_row_unread: {row}: {why}; what can't be read is left out, and everything else goes on"
            );
        }
        self.logged_unreadable = found.into_iter().map(|found| found.row).collect();
    }

    /// Why nothing is changed of a plugin whose record can't be read.
    pub(super) fn why_unread(&self, plugin: &str) -> Option<String> {
        let why = self.unread.get(plugin)?;
        Some(format!(
            "its record in the database can't be read, so nothing replaces it: {why}; if a later version of bennu has written it, update \
             this node"
        ))
    }

    /// Why a plugin doesn't get a name for its data that its record doesn't have yet. A plugin whose record can't be read may have that
    /// name, or the topics of a plugin that is new.
    pub(super) fn why_not_alone(&self, plugin: &str, store: &str) -> Option<String> {
        let has_it = self.records.get(plugin).is_some_and(|record| record.store == store);
        (!has_it && !self.unread.is_empty()).then(|| {
            "the record of another plugin can't be read, so nobody knows whether both would share data or topics; until then no new plugin \
             is rolled out, and no plugin gets another name for its data"
                .to_owned()
        })
    }

    /// Why a build doesn't get its topics: a plugin whose record can't be read serves one of them here, and no record says so.
    pub(super) fn why_taken(&self, topics: &[String]) -> Option<String> {
        self.unread.keys().find_map(|other| {
            let served = self.plugins.statuses().one(other)?.topics;
            let topic = topics.iter().find(|topic| served.contains(topic))?;
            Some(format!(
                "the pattern `{topic}` already belongs to the plugin `{other}`, whose record in the database can't be read"
            ))
        })
    }

    /// Why a plugin isn't rolled back to a build with these topics: a plugin whose record can't be read may serve one of them. This node
    /// doesn't know what that plugin serves if it has just started, or if the record has changed since.
    pub(super) fn why_maybe_taken(&self, record: &PluginRecord, topics: &[String]) -> Option<String> {
        (!self.unread.is_empty() && record.gains_topics(topics)).then(|| {
            "the record of another plugin can't be read, so nobody knows whether that one has the topics which only the build before has"
                .to_owned()
        })
    }

    /// Shows operators, and those who ask whether this node is ready, which plugins aren't served here because of their records. A plugin
    /// that serves is shown as it was.
    pub(super) fn show_unread(&self) {
        let is_served = |name: &String| self.locals.get(name).is_some_and(|local| local.generation().is_some());
        for name in self.unread.keys().filter(|name| !is_served(name)) {
            let status = ClusterPluginStatus { trouble: self.why_unread(name), ..ClusterPluginStatus::default() };
            self.plugins.statuses().set_cluster(name, status);
        }
    }
}
