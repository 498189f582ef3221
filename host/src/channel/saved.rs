//! A state as the host keeps it: its bytes, the version that wrote them, and what they were before a build on probation took
//! them over.

use std::sync::Arc;

use bytes::Bytes;

use super::former::Former;
use crate::contract::Part;
use crate::protocol::Topic;
use crate::routes::{Probation, Route, RouteSpec, Verdict};

/// A member's state, or a topic's, as last committed.
#[derive(Clone, Debug, Default)]
pub(super) struct Saved {
    pub(super) bytes: Bytes,
    /// The version that wrote them.
    pub(super) version: u32,
    before: Option<Box<Before>>,
}

/// What a state was before a build on probation, which gives it another version, took it over.
#[derive(Clone, Debug)]
struct Before {
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
    Stays,
    /// The build that took it over was taken back: it is again what it was, if it was there at all.
    Returns(Option<Saved>),
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
        Self { bytes, version, before: None }
    }

    /// A room as it is stored, with what it was before a build on that probation took it over.
    pub(super) fn taken_over(self, former: Former, probation: Arc<Probation>) -> Self {
        let Former { commits, state, .. } = former;
        Self { before: Some(Box::new(Before { state, probation, commits })), ..self }
    }

    /// What it was before, as that is stored.
    pub(super) fn former(&self) -> Option<Former> {
        let Before { state, probation, commits } = &**self.before.as_ref()?;
        Some(Former { probation: probation.id()?, commits: *commits, state: state.clone() })
    }

    /// What `route` wrote in place of `old`: a commit, or only the old state in its own version. While its generation is on
    /// probation and writes another version than the one before it, what the state was before is kept.
    pub(super) fn written(old: Option<&Self>, bytes: Bytes, is_commit: bool, (route, part): (&Route, Part)) -> Self {
        let (version, commits) = (part.version(&route.spec), u64::from(is_commit));
        // The build may have been taken back while it was asked; the state returns then, as any other.
        let kept = old.and_then(|old| old.before.as_deref()).filter(|before| !before.probation.has_passed());
        let trial = route.trial().filter(|(probation, _)| probation.has_way_back());
        let before = match (kept, trial) {
            (Some(before), _) => Some(Box::new(Before { commits: before.commits + commits, ..before.clone() })),
            (None, Some((probation, proved))) => {
                let was = old.map(|old| old.version).or(proved.map(|proved| part.version(&proved.spec)));
                let state = || old.map(|old| (old.bytes.clone(), old.version));
                let probation = || Arc::clone(probation);
                (was != Some(version)).then(|| Box::new(Before { state: state(), probation: probation(), commits }))
            }
            (None, None) => None,
        };
        Self { bytes, version, before }
    }

    /// Draws the consequence where the probation under which it was taken over has ended.
    pub(super) fn settle(&mut self, topic: &Topic) -> Settled {
        let Some(before) = &self.before else { return Settled::Stays };
        match before.probation.verdict() {
            Verdict::Open => Settled::Stays,
            Verdict::Passed => {
                self.before = None;
                Settled::Stays
            }
            Verdict::TakenBack => {
                let commits = before.commits;
                before.probation.count_given_up(commits);
                tracing::warn!(
                    topic = topic.as_str(),
                    commits,
                    "state_returned: so many commits were given up with it"
                );
                Settled::Returns(before.state.clone().map(|(bytes, version)| Self::new(bytes, version)))
            }
        }
    }

    /// Lets go of what it was before, if there is no way back to that any more.
    pub(super) fn let_go(&mut self) {
        self.before.take_if(|before| before.probation.has_passed());
    }

    /// Whether the build that took it over was taken back, and it hasn't returned yet.
    pub(super) fn is_to_return(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.probation.verdict() == Verdict::TakenBack)
    }

    /// Whether the build that took it over may still be taken back.
    pub(super) fn may_return(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.probation.is_open())
    }

    /// Whether the probation under which it was taken over has ended, and that hasn't had its consequence yet.
    pub(super) fn is_to_settle(&self) -> bool {
        self.before.is_some() && !self.may_return()
    }

    /// The state as the generation that `route` is of would have it, for its judgement: as it is, if that version wrote it,
    /// or as it was kept. None where there is no such.
    pub(super) fn as_of(&self, route: &Route, part: Part) -> Option<Self> {
        let version = part.version(&route.spec);
        match &self.before {
            None => (self.version == version).then(|| self.clone()),
            Some(before) => before.state.clone().map(|(bytes, version)| Self::new(bytes, version)),
        }
    }

    /// Whether nothing would be lost if another state took its place: it hasn't been taken over.
    pub(super) fn is_untouched(&self) -> bool {
        self.before.is_none()
    }
}
