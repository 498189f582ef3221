//! A state as the host keeps it: its bytes, the version that wrote them, and the state before a build on probation
//! upgraded it.

use std::sync::Arc;

use bytes::Bytes;

use super::former::Former;
use crate::contract::Part;
use crate::protocol::Topic;
use crate::routes::{Probation, ProbationResult, Route};

/// A member's state, or a topic's, as last committed.
#[derive(Clone, Debug, Default)]
pub(in crate::channel) struct Saved {
    pub(in crate::channel) bytes: Bytes,
    /// The version that wrote them.
    pub(in crate::channel) version: u32,
    pre_upgrade: Option<Box<PreUpgrade>>,
}

/// A state before a build on probation upgraded it to another version.
#[derive(Clone, Debug)]
struct PreUpgrade {
    /// None if that build created the state.
    state: Option<(Bytes, u32)>,
    probation: Arc<Probation>,
    /// The number of its commits since then.
    commits: u64,
}

/// The consequence of the end of a probation for a state.
#[derive(Debug)]
pub(in crate::channel) enum Settled {
    /// It doesn't change.
    Unchanged,
    /// The build that upgraded it was rolled back: it is again the state from before, if there was one.
    RolledBack(Option<Saved>),
}

impl Saved {
    /// A state without an older one.
    pub(in crate::channel) fn new(bytes: Bytes, version: u32) -> Self {
        Self { bytes, version, pre_upgrade: None }
    }

    /// A stored room, with its state before a build on that probation upgraded it.
    pub(in crate::channel) fn with_former(self, former: Former, probation: Arc<Probation>) -> Self {
        let Former { commits, state, .. } = former;
        Self { pre_upgrade: Some(Box::new(PreUpgrade { state, probation, commits })), ..self }
    }

    /// The state before the upgrade, to be stored.
    pub(in crate::channel) fn former(&self) -> Option<Former> {
        let PreUpgrade { state, probation, commits } = &**self.pre_upgrade.as_ref()?;
        Some(Former { probation: probation.id()?, commits: *commits, state: state.clone() })
    }

    /// The state that `route` wrote in place of `old`: a commit, or only the old state in its own version. While its
    /// generation is on probation and writes another version than the generation before it, the older state is kept.
    pub(in crate::channel) fn after_call(
        old: Option<&Self>,
        bytes: Bytes,
        is_commit: bool,
        (route, part): (&Route, Part),
    ) -> Self {
        let (version, commits) = (part.version(&route.spec), u64::from(is_commit));
        // The build may have been rolled back during the call; then this state is rolled back like any other.
        let kept = old.and_then(|old| old.pre_upgrade.as_deref()).filter(|before| !before.probation.has_passed());
        let trial = route.trial().filter(|(probation, _)| probation.can_roll_back());
        let before = match (kept, trial) {
            (Some(before), _) => Some(Box::new(PreUpgrade { commits: before.commits + commits, ..before.clone() })),
            (None, Some((probation, previous))) => {
                let was = old.map(|old| old.version).or(previous.map(|previous| part.version(&previous.spec)));
                let state = || old.map(|old| (old.bytes.clone(), old.version));
                let probation = || Arc::clone(probation);
                (was != Some(version)).then(|| Box::new(PreUpgrade { state: state(), probation: probation(), commits }))
            }
            (None, None) => None,
        };
        Self { bytes, version, pre_upgrade: before }
    }

    /// Applies the end of the probation under which it was upgraded, if that probation has ended.
    pub(in crate::channel) fn settle(&mut self, topic: &Topic) -> Settled {
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
                    "state_returned: the state was rolled back, and these commits were discarded"
                );
                Settled::RolledBack(before.state.clone().map(|(bytes, version)| Self::new(bytes, version)))
            }
        }
    }

    /// Drops the state from before, if no rollback to it is possible any more.
    pub(in crate::channel) fn drop_settled_former(&mut self) {
        self.pre_upgrade.take_if(|before| before.probation.has_passed());
    }

    /// Whether the build that upgraded it was rolled back, and the state itself must still be rolled back.
    pub(in crate::channel) fn must_roll_back(&self) -> bool {
        self.pre_upgrade.as_ref().is_some_and(|before| before.probation.result() == ProbationResult::RolledBack)
    }

    /// Whether the build that upgraded it may still be rolled back.
    pub(in crate::channel) fn may_roll_back(&self) -> bool {
        self.pre_upgrade.as_ref().is_some_and(|before| before.probation.is_open())
    }

    /// Whether the probation under which it was upgraded has ended, and its end isn't applied to the state yet.
    pub(in crate::channel) fn needs_settling(&self) -> bool {
        self.pre_upgrade.is_some() && !self.may_roll_back()
    }

    /// The state for a second call on the generation of `route`, which decides who is at fault: the state from before the
    /// upgrade if there was one, or this state if that generation's version wrote it. Otherwise none.
    pub(in crate::channel) fn for_build(&self, route: &Route, part: Part) -> Option<Self> {
        let version = part.version(&route.spec);
        match &self.pre_upgrade {
            None => (self.version == version).then(|| self.clone()),
            Some(before) => before.state.clone().map(|(bytes, version)| Self::new(bytes, version)),
        }
    }

    /// Whether it wasn't upgraded on probation. If so, another state can replace it without loss of a commit.
    pub(in crate::channel) fn is_untouched(&self) -> bool {
        self.pre_upgrade.is_none()
    }
}
