//! What a node has to do so that it has and serves what the records say.

use std::collections::BTreeMap;

use super::digest::BuildDigest;
use super::record::{Build, BuildPhase, PluginRecord};
use super::report::{LoadedBuild, PreparedReport, Report};

/// A plugin at this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LocalPlugin {
    /// The builds that the node loads or has loaded, by generation.
    pub loads: BTreeMap<u32, (BuildDigest, LoadState)>,
    /// The generation that serves here, and the phase with which it does.
    pub serving: Option<(u32, BuildPhase)>,
}

/// How far a load is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LoadState {
    /// It has begun.
    Loading,
    /// The build can serve.
    Loaded(LoadedBuild),
    /// The build can't be loaded at this node.
    Failed(String),
}

/// A build that the node needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BuildToLoad {
    /// Its generation.
    pub generation: u32,
    /// Its bytes.
    pub digest: BuildDigest,
}

/// How a generation begins to serve at this node, or continues with another phase.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServeStep {
    /// The build.
    pub build: Build,
    /// Its phase.
    pub phase: BuildPhase,
    /// Whether the build against which it is on probation is loaded.
    pub has_against: bool,
    /// If a probation has ended that was open here: whether the build was rolled back.
    pub ends: Option<bool>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LocalStep {
    /// Load a build.
    Load(BuildToLoad),
    /// Publish a loaded build, or its other phase.
    Serve(Box<ServeStep>),
    /// End the service of the plugin: the cluster serves none, or a build that can't be loaded here. In the second case a call of the build
    /// that serves here could write nothing.
    Withdraw,
    /// Forget a build that isn't needed.
    Drop(u32),
}

/// Returns what to do next for a plugin. None if everything is as the record says, or must be waited for.
#[must_use]
pub fn next_step(record: Option<&PluginRecord>, local: &LocalPlugin) -> Option<LocalStep> {
    let wanted = record.map(wanted).unwrap_or_default();
    if let Some(missing) = wanted.iter().find(|build| !local.has(**build)) {
        return Some(LocalStep::Load(*missing));
    }
    if let Some(step) = record.and_then(|record| to_serve(record, local)) {
        return Some(step);
    }
    let serves = record.and_then(PluginRecord::generation).filter(|generation| !local.is_failed(*generation));
    if local.serving.is_some() && serves.is_none() {
        return Some(LocalStep::Withdraw);
    }
    let serving = local.serving.as_ref().map(|(generation, _)| *generation);
    let is_needed =
        |generation: u32| serving == Some(generation) || wanted.iter().any(|build| build.generation == generation);
    local.loads.keys().find(|generation| !is_needed(**generation)).map(|generation| LocalStep::Drop(*generation))
}

/// The builds that a node needs: what serves, what it may be rolled back to, and what is being prepared.
fn wanted(record: &PluginRecord) -> Vec<BuildToLoad> {
    let of = |build: &Build| BuildToLoad { generation: build.generation, digest: build.digest };
    let serving = record.serving.iter().map(|serving| of(&serving.build));
    let against = record.probation().map(|probation| of(&probation.against));
    let rollout = record.rollout.as_ref();
    let rollout = rollout.map(|rollout| BuildToLoad { generation: rollout.generation, digest: rollout.digest });
    serving.chain(against).chain(rollout).collect()
}

/// The step to what serves in the cluster, if all that it needs is there.
fn to_serve(record: &PluginRecord, local: &LocalPlugin) -> Option<LocalStep> {
    let serving = record.serving.as_ref()?;
    let generation = serving.build.generation;
    if local.serving == Some((generation, serving.phase.clone())) || !local.is_loaded(generation) {
        return None;
    }
    let open = local.serving.as_ref().and_then(|(_, phase)| id_of(phase));
    let against = record.probation().map(|probation| probation.against.generation);
    // The build from before is needed from the first call on.
    if against.is_some_and(|against| !local.is_loaded(against) && !local.is_failed(against)) {
        return None;
    }
    let ends = open.filter(|open| Some(*open) != id_of(&serving.phase)).map(|open| record.is_rolled_back(open));
    Some(LocalStep::Serve(Box::new(ServeStep {
        build: serving.build.clone(),
        phase: serving.phase.clone(),
        has_against: against.is_some_and(|against| local.is_loaded(against)),
        ends,
    })))
}

fn id_of(phase: &BuildPhase) -> Option<u32> {
    match phase {
        BuildPhase::OnProbation(probation) => Some(probation.id),
        BuildPhase::Passed | BuildPhase::Unproved => None,
    }
}

impl LocalPlugin {
    fn has(&self, build: BuildToLoad) -> bool {
        self.loads.get(&build.generation).is_some_and(|(digest, _)| *digest == build.digest)
    }

    fn is_loaded(&self, generation: u32) -> bool {
        matches!(self.loads.get(&generation), Some((_, LoadState::Loaded(_))))
    }

    fn is_failed(&self, generation: u32) -> bool {
        matches!(self.loads.get(&generation), Some((_, LoadState::Failed(_))))
    }

    /// What the node reports. `counts` are the answered calls and the counted faults of the generation that serves here.
    #[must_use]
    pub fn report(&self, record: &PluginRecord, counts: (u64, u32)) -> Report {
        let prepared = record.rollout.as_ref().and_then(|rollout| {
            let result = match &self.loads.get(&rollout.generation)?.1 {
                LoadState::Loading => return None,
                LoadState::Loaded(build) => Ok(build.clone()),
                LoadState::Failed(why) => Err(why.clone()),
            };
            Some(PreparedReport { number: rollout.number, result })
        });
        let trouble = record.generation().and_then(|generation| match self.loads.get(&generation) {
            Some((_, LoadState::Failed(why))) => Some(why.clone()),
            _ => None,
        });
        let (calls, faults) = counts;
        let serving = self.serving.as_ref().map(|(generation, _)| *generation);
        Report { prepared, serving, calls, faults, trouble }
    }
}
