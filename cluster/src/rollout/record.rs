//! What the database says of a plugin: the build that serves in the whole cluster, and the rollout that may replace it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::BuildDigest;

/// The records of all plugins, by name.
pub type Records = BTreeMap<String, PluginRecord>;

/// The most builds that a record remembers to have served. An older one counts as new.
const KNOWN_MAX: usize = 64;

/// The most rejected builds, ended probations and ended rollouts that a record remembers.
const ENDED_MAX: usize = 16;

/// The record of one plugin. It exists from the first offer of a build on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct PluginRecord {
    /// The name under which its data is stored.
    pub store: String,
    /// The number of its last rollout, 0 before the first one.
    pub last: u32,
    /// The build that serves at all nodes.
    pub serving: Option<ServingBuild>,
    /// The build to which an operator's rollback leads, if the one that serves isn't on probation.
    pub previous: Option<Build>,
    /// The rollout that is being prepared.
    pub rollout: Option<Rollout>,
    /// The builds that have served, the last one at the end.
    pub known: Vec<BuildDigest>,
    /// The builds that were rolled back automatically, the last one at the end. Only an operator rolls them out again.
    pub rejected: Vec<Rejection>,
    /// The probations that have ended, the last one at the end.
    pub probations: Vec<EndedProbation>,
    /// The rollouts that have ended, the last one at the end.
    pub outcomes: Vec<Outcome>,
    /// Whether an operator has unloaded the plugin. Only an operator rolls out a build then.
    pub is_unloaded: bool,
    /// Whether it was a gatekeeper when it last served. Nothing else serves in its place: mounts would be open to everyone.
    pub is_gatekeeper: bool,
}

/// A build with its generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Build {
    /// The number that its calls have. It is the number of the rollout that brought it.
    pub generation: u32,
    /// Its bytes.
    pub digest: BuildDigest,
    /// The patterns of topics that it serves, as the nodes have read them from the build.
    pub topics: Vec<String>,
    /// Whether it decides about connections. Then it serves no topics, and has no probation.
    pub is_gatekeeper: bool,
}

/// The build that serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServingBuild {
    /// The build.
    pub build: Build,
    /// Whether it has passed its probation.
    pub phase: BuildPhase,
}

/// What is known of a build's quality.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildPhase {
    /// It has passed, or needs no probation.
    Passed,
    /// It has answered no call, and no build was there before it.
    Unproved,
    /// It may be rolled back automatically.
    OnProbation(OpenProbation),
}

/// A probation that hasn't ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpenProbation {
    /// Its number: that of the rollout with which it began. A build that comes meanwhile continues it.
    pub id: u32,
    /// The build that serves again after a rollback.
    pub against: Build,
    /// How long it lasts, and what it tolerates.
    pub terms: RecordedTerms,
}

/// The length of a probation, and the faults that it tolerates. They are those of the node that has switched to the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordedTerms {
    /// The shortest time, in milliseconds. Zero: there is no probation.
    pub time_ms: u64,
    /// The smallest number of answered calls, of all nodes together.
    pub calls: u64,
    /// The tolerated faults, of all nodes together.
    pub faults: u32,
}

/// A build that all nodes prepare.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rollout {
    /// Its number, which no other rollout of the plugin has.
    pub number: u32,
    /// The generation of the build: the number, or an earlier one if the build serves again.
    pub generation: u32,
    /// The build.
    pub digest: BuildDigest,
    /// Why it was begun.
    pub purpose: Purpose,
    /// The name of the node where it was begun.
    pub by: String,
}

/// Why a rollout was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A plugin's file has a build that the cluster doesn't know.
    File,
    /// An operator wants the build of a file.
    Reload,
    /// An operator wants the build from before.
    Rollback,
}

/// A build that was rolled back automatically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rejection {
    /// The build.
    pub digest: BuildDigest,
    /// The generation that it was.
    pub generation: u32,
    /// The counted faults of all nodes.
    pub faults: u32,
    /// When, in milliseconds since 1970, by the clock of the node that decided. It is shown only.
    pub at_ms: u64,
}

/// A probation that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EndedProbation {
    /// Its number.
    pub id: u32,
    /// Whether the build was rolled back, so that states become as they were before.
    pub is_rolled_back: bool,
}

/// A rollout that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outcome {
    /// The number of the rollout.
    pub number: u32,
    /// Its build.
    pub digest: BuildDigest,
    /// What has become of it.
    pub result: OutcomeResult,
}

/// What has become of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeResult {
    /// All nodes have switched to the build.
    Switched,
    /// No node has. The text says why.
    Refused(String),
    /// Another rollout, or an operator's command, came before it was prepared.
    Replaced,
}

impl PluginRecord {
    /// The number of a new rollout.
    pub(super) fn next_number(&mut self) -> u32 {
        // A rollout takes a second at least, so the numbers last for a century.
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// Ends the rollout that is being prepared, if there is one.
    pub(super) fn end_rollout(&mut self, result: OutcomeResult) {
        if let Some(Rollout { number, digest, .. }) = self.rollout.take() {
            push(&mut self.outcomes, Outcome { number, digest, result }, ENDED_MAX);
        }
    }

    /// Makes a build the one that serves.
    pub(super) fn serve(&mut self, build: Build, phase: BuildPhase) {
        self.known.retain(|known| *known != build.digest);
        push(&mut self.known, build.digest, KNOWN_MAX);
        (self.is_unloaded, self.is_gatekeeper) = (false, build.is_gatekeeper);
        self.serving = Some(ServingBuild { build, phase });
    }

    pub(super) fn reject(&mut self, rejection: Rejection) {
        self.rejected.retain(|rejected| rejected.digest != rejection.digest);
        push(&mut self.rejected, rejection, ENDED_MAX);
    }

    pub(super) fn end_probation(&mut self, id: u32, is_rolled_back: bool) {
        push(&mut self.probations, EndedProbation { id, is_rolled_back }, ENDED_MAX);
    }

    /// The rejection of a build.
    #[must_use]
    pub fn rejection(&self, digest: BuildDigest) -> Option<&Rejection> {
        self.rejected.iter().find(|rejected| rejected.digest == digest)
    }

    /// The generation that serves.
    #[must_use]
    pub fn generation(&self) -> Option<u32> {
        self.serving.as_ref().map(|serving| serving.build.generation)
    }

    /// The probation of the build that serves.
    #[must_use]
    pub fn probation(&self) -> Option<&OpenProbation> {
        match &self.serving.as_ref()?.phase {
            BuildPhase::OnProbation(probation) => Some(probation),
            BuildPhase::Passed | BuildPhase::Unproved => None,
        }
    }

    /// Whether the plugin doesn't serve all of these topics now.
    #[must_use]
    pub fn gains_topics(&self, topics: &[String]) -> bool {
        topics.iter().any(|topic| self.serving.as_ref().is_none_or(|serving| !serving.build.topics.contains(topic)))
    }

    /// What has become of a rollout. None while it is prepared, and if it is forgotten.
    #[must_use]
    pub fn outcome(&self, number: u32) -> Option<&OutcomeResult> {
        self.outcomes.iter().find(|outcome| outcome.number == number).map(|outcome| &outcome.result)
    }

    /// The result of a probation that isn't the current one. One that is forgotten has passed: the states from before are long gone.
    #[must_use]
    pub fn is_rolled_back(&self, id: u32) -> bool {
        self.probations.iter().any(|ended| ended.id == id && ended.is_rolled_back)
    }

    /// The builds whose bytes the registry keeps.
    pub fn builds(&self) -> impl Iterator<Item = BuildDigest> {
        let serving = self.serving.iter().map(|serving| serving.build.digest);
        let against = self.probation().map(|probation| probation.against.digest);
        let previous = self.previous.iter().map(|previous| previous.digest);
        serving.chain(against).chain(previous).chain(self.rollout.iter().map(|rollout| rollout.digest))
    }
}

/// Adds to a list, and removes its first value above `most`.
fn push<T>(list: &mut Vec<T>, value: T, most: usize) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(value);
}
