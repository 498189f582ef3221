//! One part of the host that the self-test checks, and the results of that check.

use std::time::Instant;

/// A part of the host that the self-test checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A timer of the runtime fires in time.
    Timer,
    /// Each thread that serves WebSocket connections takes the frame of an outbox.
    Reactors,
    /// The task that owns the plugins answers.
    Library,
    /// The store commits.
    Store,
}

impl Check {
    /// All checks, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Timer, Self::Reactors, Self::Library, Self::Store];

    /// Returns its name in the metrics and in the details.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::Reactors => "reactors",
            Self::Library => "library",
            Self::Store => "store",
        }
    }

    /// Returns the part that it checks, for a sentence.
    #[must_use]
    pub fn part(self) -> &'static str {
        match self {
            Self::Timer => "a timer",
            Self::Reactors => "a thread that serves WebSocket connections",
            Self::Library => "the task that loads plugins",
            Self::Store => "the store",
        }
    }
}

/// The results of one check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckState {
    /// When it last succeeded.
    succeeded: Option<Instant>,
    /// How many tests have begun since then.
    since_success: u32,
    /// Why it has failed, if it has answered with a failure since its last success.
    failure: Option<String>,
    /// How many tests have begun since it was asked, if it hasn't answered yet.
    unanswered: Option<u32>,
}

impl CheckState {
    /// A test begins. Returns whether the check has to be asked.
    pub(super) fn begin(&mut self) -> bool {
        self.since_success = self.since_success.saturating_add(1);
        match &mut self.unanswered {
            Some(tests) => {
                *tests = tests.saturating_add(1);
                false
            }
            none => {
                *none = Some(0);
                true
            }
        }
    }

    pub(super) fn answer(&mut self, now: Instant, result: Result<(), String>) {
        self.unanswered = None;
        match result {
            Ok(()) => *self = Self { succeeded: Some(now), ..Self::default() },
            Err(failure) => self.fail(failure),
        }
    }

    pub(super) fn fail(&mut self, failure: String) {
        self.failure = Some(failure);
    }

    /// Whether it has succeeded, and nothing has failed since.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.succeeded.is_some() && self.failure.is_none() && self.unanswered() == 0
    }

    pub(super) fn unanswered(&self) -> u32 {
        self.unanswered.unwrap_or(0)
    }

    /// Whether it has succeeded, and fewer than `tests` have begun since then.
    pub(super) fn has_succeeded_since(&self, tests: u32) -> bool {
        self.succeeded.is_some() && self.since_success < tests
    }

    /// Returns the failure that it has answered with, if it hasn't succeeded since.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Returns when it last succeeded.
    #[must_use]
    pub fn succeeded(&self) -> Option<Instant> {
        self.succeeded
    }
}
