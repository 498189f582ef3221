//! What changes the records because somebody asks for it: a file with a new build, and the commands of operators.

use std::collections::BTreeSet;

use super::conflict::TopicConflict;
use super::digest::BuildDigest;
use super::record::{BuildPhase, OutcomeResult, PluginRecord, Purpose, Records, Rejection, Rollout};

/// The most plugins of a cluster.
pub const PLUGINS_MAX: usize = 256;

/// A build that a node's file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The plugin.
    pub plugin: String,
    /// The build.
    pub digest: BuildDigest,
    /// The name under which the plugin's data is stored.
    pub store: String,
    /// Whether an operator has asked for it.
    pub is_asked: bool,
    /// The name of the node.
    pub by: String,
}

/// What follows from an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferResult {
    /// A rollout begins with this number.
    Begun(u32),
    /// A rollout of this build is being prepared already, with this number.
    UnderWay(u32),
    /// The build serves already.
    Serves,
    /// The build has served before, and another one serves now: the cluster's wins, as when an old image starts again.
    Outdated,
    /// The build was rolled back automatically.
    Rejected(Rejection),
    /// An operator has unloaded the plugin.
    Unloaded,
    /// It can't be rolled out. The text says why.
    Refused(String),
}

/// What follows from a rollback by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackResult {
    /// The build from before the probation serves.
    Done,
    /// A rollout of the build from before begins with this number.
    Begun(u32),
}

/// Offers a build. Changes the records only if a rollout begins. The registry must have the bytes before the records are written.
pub fn offer(records: &mut Records, offer: &Offer) -> OfferResult {
    let Offer { plugin, digest, store, is_asked, by } = offer;
    if let Some(record) = records.get(plugin) {
        let is_prepared = |rollout: &&Rollout| rollout.digest == *digest && rollout.purpose != Purpose::Rollback;
        if let Some(rollout) = record.rollout.as_ref().filter(is_prepared) {
            return OfferResult::UnderWay(rollout.number);
        }
        if !is_asked && let Some(result) = kept_as_it_is(record, *digest) {
            return result;
        }
    } else if records.len() >= PLUGINS_MAX {
        return OfferResult::Refused(format!("the cluster has {PLUGINS_MAX} plugins already"));
    }
    if let Some((other, _)) = records.iter().find(|(other, record)| *other != plugin && record.store == *store) {
        return OfferResult::Refused(format!(
            "its data is stored under `{store}`, as that of the plugin `{other}`; in a cluster each plugin needs a name of its own: \
             set `plugins.{plugin}.store`"
        ));
    }
    let record = records.entry(plugin.clone()).or_default();
    if record.serving.is_none() {
        record.store.clone_from(store);
    } else if record.store != *store {
        let there = &record.store;
        return OfferResult::Refused(format!(
            "its data is stored under `{store}` here, and under `{there}` in the cluster; give all nodes the same `plugins.{plugin}.store`, \
             or unload the plugin first"
        ));
    }
    record.end_rollout(OutcomeResult::Replaced);
    let (number, purpose) = (record.next_number(), if *is_asked { Purpose::Reload } else { Purpose::File });
    record.rollout = Some(Rollout { number, generation: number, digest: *digest, purpose, by: by.clone() });
    OfferResult::Begun(number)
}

/// What the record says against a build that nobody has asked for.
fn kept_as_it_is(record: &PluginRecord, digest: BuildDigest) -> Option<OfferResult> {
    if record.serving.as_ref().is_some_and(|serving| serving.build.digest == digest) {
        return Some(OfferResult::Serves);
    }
    if record.is_unloaded {
        return Some(OfferResult::Unloaded);
    }
    if let Some(rejection) = record.rejection(digest) {
        return Some(OfferResult::Rejected(*rejection));
    }
    record.known.contains(&digest).then_some(OfferResult::Outdated)
}

/// Rolls a plugin back: at once to the build from before its probation, which all nodes have, or by a rollout of the build that served
/// before. A rollout that is being prepared is replaced.
///
/// # Errors
/// If there is no such build, or another plugin serves its topics now. The text says so.
pub fn roll_back(records: &mut Records, plugin: &str, by: &str) -> Result<RollbackResult, String> {
    let none = || "there is no generation before the one that serves".to_owned();
    let probation = records.get(plugin).ok_or_else(none)?.probation().cloned();
    if let Some(probation) = &probation
        && let Some(conflict) = TopicConflict::find(records, plugin, &probation.against.topics, &BTreeSet::new())
    {
        return Err(conflict.to_string());
    }
    let record = records.get_mut(plugin).ok_or_else(none)?;
    if let Some(probation) = probation {
        record.end_rollout(OutcomeResult::Replaced);
        record.end_probation(probation.id, true);
        record.serve(probation.against, BuildPhase::Passed);
        record.previous = None;
        return Ok(RollbackResult::Done);
    }
    let previous = record.previous.clone().filter(|_| record.serving.is_some()).ok_or_else(none)?;
    record.end_rollout(OutcomeResult::Replaced);
    let (number, purpose) = (record.next_number(), Purpose::Rollback);
    let (generation, digest) = (previous.generation, previous.digest);
    record.rollout = Some(Rollout { number, generation, digest, purpose, by: by.to_owned() });
    Ok(RollbackResult::Begun(number))
}

/// Ends the service of a plugin at all nodes. Its members end, so no state is left that a probation could restore.
pub fn unload(record: &mut PluginRecord) {
    record.end_rollout(OutcomeResult::Replaced);
    if let Some(id) = record.probation().map(|probation| probation.id) {
        record.end_probation(id, false);
    }
    (record.serving, record.previous, record.is_unloaded) = (None, None, true);
}
