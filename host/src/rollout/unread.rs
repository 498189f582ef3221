//! Records and reports in the database that can't be read: a later version of bennu has written them, or somebody else.
//!
//! All other plugins go on. A plugin whose record can't be read stays at this node as it is: it isn't withdrawn, because nobody has said
//! so, and nothing is rolled out in its place, because that would replace the record. What the database keeps for it stays there: a
//! change of other records removes no build.

use std::collections::BTreeMap;

use super::driver::Rollouts;
use crate::plugin::ClusterPluginStatus;

impl Rollouts {
    /// Takes the reasons why some records can't be read, which were read together with the others.
    pub(super) async fn take_unread(&mut self, unread: BTreeMap<String, String>, is_first: bool) {
        let gatekeepers = self.records.iter().filter(|(_, record)| record.is_gatekeeper).map(|(name, _)| name.clone());
        if is_first {
            // What can't be read may have been a gatekeeper. Mounts that depend on one let nobody in until that is known: otherwise they
            // would be open to everyone.
            let barred = gatekeepers.chain(unread.keys().cloned()).collect();
            self.plugins.remember_gatekeepers(barred).await;
            self.barred = unread.keys().cloned().collect();
        } else {
            let known = self.barred.iter().filter(|name| !unread.contains_key(*name)).cloned().collect::<Vec<_>>();
            let gatekeepers: Vec<String> = gatekeepers.filter(|name| known.contains(name)).collect();
            for name in &known {
                self.barred.remove(name);
                self.plugins.forget(name).await;
            }
            if !gatekeepers.is_empty() {
                self.plugins.remember_gatekeepers(gatekeepers).await;
            }
        }
        for name in unread.keys() {
            // If the record is removed, the plugin is forgotten like one that was read before.
            self.locals.entry(name.clone()).or_default();
        }
        self.unread = unread;
    }

    /// Counts what can't be read, and logs it if that is new.
    pub(super) fn note_unread(&mut self, reports: Vec<String>) {
        let records = self.unread.iter().map(|(plugin, why)| format!("the record of the plugin {plugin:?}: {why}"));
        let found: Vec<String> = records.chain(reports).collect();
        self.peers.count_unread_rows(found.len());
        for what in found.iter().filter(|what| !self.said_unread.contains(what)) {
            tracing::error!("registry_row_unread: {what}; it is left out, and everything else goes on");
        }
        self.said_unread = found;
    }

    /// Why nothing is changed of a plugin whose record can't be read.
    pub(super) fn why_unread(&self, plugin: &str) -> Option<String> {
        let why = self.unread.get(plugin)?;
        Some(format!(
            "its record in the database can't be read, so nothing replaces it: {why}; if a later version of bennu has written it, update \
             this node"
        ))
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
