//! A state as the host keeps it: its bytes, the version that wrote them, and the state before a build on probation
//! upgraded it.

use std::sync::Arc;

use bennu_semantics::entries::EntrySums;
use bytes::Bytes;

use super::former::Former;
use crate::contract::Part;
use crate::entries::TopicEntries;
use crate::protocol::Topic;
use crate::routes::{Probation, ProbationResult, Route};

/// A member's state, or a topic's, as last committed.
#[derive(Clone, Debug, Default)]
pub(in crate::channel) struct Saved {
    pub(in crate::channel) bytes: Bytes,
    /// The version that wrote them, if they aren't empty.
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

/// The entries of a topic after a call.
#[derive(Clone, Copy)]
pub(in crate::channel) struct EntriesOfCall<'a> {
    pub(in crate::channel) topic: Option<&'a Arc<TopicEntries>>,
    pub(in crate::channel) are_changed: bool,
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

    /// The version that wrote it. None for a room that nobody has written: it was kept only for its rollback point.
    pub(in crate::channel) fn written_in(&self) -> Option<u32> {
        (!self.bytes.is_empty()).then_some(self.version)
    }

    /// A stored room, with its state before a build on that probation upgraded it.
    pub(in crate::channel) fn with_former(self, former: Former, probation: Arc<Probation>) -> Self {
        let Former { commits, state, .. } = former;
        Self { pre_upgrade: Some(Box::new(PreUpgrade { state, probation, commits })), ..self }
    }

    /// The state before the upgrade, to be stored. `sums` are those of the topic's entries then.
    pub(in crate::channel) fn former(&self, sums: Option<EntrySums>) -> Option<Former> {
        let PreUpgrade { state, probation, commits } = &**self.pre_upgrade.as_ref()?;
        let (commits, sums) = (*commits, sums.unwrap_or_default());
        Some(Former { probation: probation.id()?, commits, state: state.clone(), sums })
    }

    /// The member's state that `route` wrote in place of `old`: a commit, or only the old state in its own version. While its
    /// generation is on probation and writes another version than the generation before it, the older state is kept.
    pub(in crate::channel) fn after_call(old: Option<&Self>, bytes: Bytes, is_commit: bool, route: &Route) -> Self {
        let (version, commits) = (route.spec.assigns_version, u64::from(is_commit));
        // The build may have been rolled back during the call; then this state is rolled back like any other.
        let kept = old.and_then(|old| old.pre_upgrade.as_deref()).filter(|before| !before.probation.has_passed());
        let trial = route.trial().filter(|(probation, _)| probation.can_roll_back());
        let before = match (kept, trial) {
            (Some(before), _) => Some(Box::new(PreUpgrade { commits: before.commits + commits, ..before.clone() })),
            (None, Some((probation, previous))) => {
                let was = old.map(|old| old.version).or(previous.map(|previous| previous.spec.assigns_version));
                let state = || old.map(|old| (old.bytes.clone(), old.version));
                let probation = || Arc::clone(probation);
                (was != Some(version)).then(|| Box::new(PreUpgrade { state: state(), probation: probation(), commits }))
            }
            (None, None) => None,
        };
        Self { bytes, version, pre_upgrade: before }
    }

    /// The state of a room after a call that has perhaps written it (`bytes`), and perhaps its entries. None if the call has
    /// written neither, or only entries in a room without a rollback point.
    ///
    /// While its generation is on probation, the first call that writes the room in another version than the generation
    /// before it, or an entry in another version of entries, starts the rollback point: the room as it was is kept, and so is
    /// each entry that is changed from then on.
    pub(in crate::channel) fn room_after_call(
        old: Option<&Self>,
        bytes: Option<Bytes>,
        is_commit: bool,
        entries: EntriesOfCall<'_>,
        route: &Route,
    ) -> Option<Self> {
        if bytes.is_none() && !entries.are_changed {
            return None;
        }
        let version = route.spec.room_version;
        let had_point = old.is_some_and(|old| old.pre_upgrade.is_some());
        let kept = old.and_then(|old| old.pre_upgrade.as_deref()).filter(|before| !before.probation.has_passed());
        let is_given_up =
            |id| entries.topic.zip(id).is_some_and(|(topic, id): (&Arc<TopicEntries>, u64)| topic.is_given_up(id));
        let trial = route.trial().filter(|(probation, _)| probation.can_roll_back() && !is_given_up(probation.id()));
        let commits = u64::from(is_commit || entries.are_changed);
        let before = match (kept, trial) {
            (Some(before), _) => Some(PreUpgrade { commits: before.commits + commits, ..before.clone() }),
            (None, Some((probation, previous))) => {
                let previous = previous.map(|previous| &previous.spec);
                let was = old.and_then(Self::written_in).or(previous.map(|previous| previous.room_version));
                let wrote = previous.map(|previous| previous.entries_version);
                let upgrades_room = bytes.is_some() && was != Some(version);
                let upgrades_entries = entries.are_changed && wrote != Some(route.spec.entries_version);
                // A room with entries may be called for by the build before, also if nobody has written its state.
                let unwritten = || entries.topic.and(previous).map(|previous| (Bytes::new(), previous.room_version));
                let state = old.map(|old| (old.bytes.clone(), old.version)).or_else(unwritten);
                let starts = upgrades_room || upgrades_entries;
                starts.then(|| PreUpgrade { state, probation: Arc::clone(probation), commits })
            }
            (None, None) => None,
        };
        if bytes.is_none() && before.is_none() && !had_point {
            return None;
        }
        let version = if bytes.is_some() { version } else { old.map_or(version, |old| old.version) };
        let bytes = bytes.or_else(|| old.map(|old| old.bytes.clone())).unwrap_or_default();
        Some(Self { bytes, version, pre_upgrade: before.map(Box::new) })
    }

    /// The number of the probation whose rollback would restore the state from before, if there is one.
    pub(in crate::channel) fn rollback_point(&self) -> Option<u64> {
        self.pre_upgrade.as_ref().and_then(|before| before.probation.id())
    }

    /// Drops the state from before: a rollback leaves this state.
    pub(in crate::channel) fn give_up_rollback(&mut self) {
        self.pre_upgrade = None;
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
            None => self.written_in().is_none_or(|written_in| written_in == version).then(|| self.clone()),
            Some(before) => before.state.clone().map(|(bytes, version)| Self::new(bytes, version)),
        }
    }

    /// Whether it wasn't upgraded on probation. If so, another state can replace it without loss of a commit.
    pub(in crate::channel) fn is_untouched(&self) -> bool {
        self.pre_upgrade.is_none()
    }
}
