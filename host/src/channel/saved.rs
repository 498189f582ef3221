//! A state as the host keeps it: its bytes, the version that wrote them, and what they were before a build on probation took
//! them over.

use std::sync::Arc;

use bytes::Bytes;

use super::former::Former;
use crate::contract::Part;
use crate::protocol::Topic;
use crate::routes::{Probation, ProbationResult, Route, RouteSpec};

/// A member's state, or a topic's, as last committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Saved {
    pub(super) bytes: Bytes,
    /// The version that wrote them.
    pub(super) version: u32,
    pre_upgrade: Option<Box<PreUpgrade>>,
}

/// What a state was before a build on probation, which gives it another version, took it over.
#[derive(Clone, Debug)]
struct PreUpgrade {
    /// None for a state that only came to be under that build.
    state: Option<(Bytes, u32)>,
    probation: Arc<Probation>,
    /// How often it was committed since.
    commits: u64,
}

/// What the end of a probation means for a state.
#[derive(Debug)]
pub(super) enum Settled {
    /// It stays as it is.
    Unchanged,
    /// The build that took it over was taken back: it is again what it was, if it was there at all.
    RolledBack(Option<Saved>),
}

impl Part {
    /// The version in which a route's build writes it.
    pub(super) fn version(self, spec: &RouteSpec) -> u32 {
        match self {
            Self::Assigns => spec.assigns_version,
            Self::Room => spec.room_version,
        }
    }
}

impl Saved {
    /// A state that nothing came before.
    pub(super) fn new(bytes: Bytes, version: u32) -> Self {
        Self { bytes, version, pre_upgrade: None }
    }

    /// A room as it is stored, with what it was before a build on that probation took it over.
    pub(super) fn with_former(self, former: Former, probation: Arc<Probation>) -> Self {
        let Former { commits, state, .. } = former;
        Self { pre_upgrade: Some(Box::new(PreUpgrade { state, probation, commits })), ..self }
    }

    /// What it was before, as that is stored.
    pub(super) fn former(&self) -> Option<Former> {
        let PreUpgrade { state, probation, commits } = &**self.pre_upgrade.as_ref()?;
        Some(Former { probation: probation.id()?, commits: *commits, state: state.clone() })
    }

    /// What `route` wrote in place of `old`: a commit, or only the old state in its own version. While its generation is on
    /// probation and writes another version than the one before it, what the state was before is kept.
    pub(super) fn after_call(old: Option<&Self>, bytes: Bytes, is_commit: bool, (route, part): (&Route, Part)) -> Self {
        let (version, commits) = (part.version(&route.spec), u64::from(is_commit));
        // The build may have been taken back while it was asked; the state returns then, as any other.
        let kept = old.and_then(|old| old.pre_upgrade.as_deref()).filter(|before| !before.probation.has_passed());
        let trial = route.trial().filter(|(probation, _)| probation.can_roll_back());
        let before = match (kept, trial) {
            (Some(before), _) => Some(Box::new(PreUpgrade { commits: before.commits + commits, ..before.clone() })),
            (None, Some((probation, proved))) => {
                let was = old.map(|old| old.version).or(proved.map(|proved| part.version(&proved.spec)));
                let state = || old.map(|old| (old.bytes.clone(), old.version));
                let probation = || Arc::clone(probation);
                (was != Some(version)).then(|| Box::new(PreUpgrade { state: state(), probation: probation(), commits }))
            }
            (None, None) => None,
        };
        Self { bytes, version, pre_upgrade: before }
    }

    /// Draws the consequence where the probation under which it was taken over has ended.
    pub(super) fn settle(&mut self, topic: &Topic) -> Settled {
        let Some(before) = &self.pre_upgrade else { return Settled::Unchanged };
        match before.probation.result() {
            ProbationResult::Open => Settled::Unchanged,
            ProbationResult::Passed => {
                self.pre_upgrade = None;
                Settled::Unchanged
            }
            ProbationResult::RolledBack => {
                let commits = before.commits;
                before.probation.count_discarded_commits(commits);
                tracing::warn!(
                    topic = topic.as_str(),
                    commits,
                    "state_returned: so many commits were given up with it"
                );
                Settled::RolledBack(before.state.clone().map(|(bytes, version)| Self::new(bytes, version)))
            }
        }
    }

    /// Lets go of what it was before, if there is no way back to that any more.
    pub(super) fn drop_settled_former(&mut self) {
        self.pre_upgrade.take_if(|before| before.probation.has_passed());
    }

    /// Whether the build that took it over was taken back, and it hasn't returned yet.
    pub(super) fn must_roll_back(&self) -> bool {
        self.pre_upgrade.as_ref().is_some_and(|before| before.probation.result() == ProbationResult::RolledBack)
    }

    /// Whether the build that took it over may still be taken back.
    pub(super) fn may_roll_back(&self) -> bool {
        self.pre_upgrade.as_ref().is_some_and(|before| before.probation.is_open())
    }

    /// Whether the probation under which it was taken over has ended, and that hasn't had its consequence yet.
    pub(super) fn needs_settling(&self) -> bool {
        self.pre_upgrade.is_some() && !self.may_roll_back()
    }

    /// The state as the generation that `route` is of would have it, for its judgement: as it is, if that version wrote it,
    /// or as it was kept. None where there is no such.
    pub(super) fn for_build(&self, route: &Route, part: Part) -> Option<Self> {
        let version = part.version(&route.spec);
        match &self.pre_upgrade {
            None => (self.version == version).then(|| self.clone()),
            Some(before) => before.state.clone().map(|(bytes, version)| Self::new(bytes, version)),
        }
    }

    /// Whether nothing would be lost if another state took its place: it hasn't been taken over.
    pub(super) fn is_untouched(&self) -> bool {
        self.pre_upgrade.is_none()
    }
}
