//! Whether the host works: the results of its self-test, and what follows from them.
//!
//! Two questions have different answers. *Liveness* is whether a restart would help: a part of the host doesn't answer any
//! more. *Readiness* is whether the host should get traffic. A full disk makes a host unready and leaves it alive, because a
//! restart doesn't empty the disk. All functions get the time as a parameter.

mod check;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use check::{Check, CheckState};

/// How often the host tests itself.
pub const TEST_INTERVAL: Duration = Duration::from_secs(5);

/// After so many tests without an answer, a part doesn't answer any more.
const UNANSWERED_MAX: u32 = 6;

/// The store may wait longer than the other parts, for a slow disk.
const UNANSWERED_BY_STORE_MAX: u32 = 12;

/// A result is too old for readiness if so many tests have begun since it.
const OLD: u32 = 3;

/// If no test has begun for so long, the timer that begins tests is late, and the results are old.
const LATE_TEST: Duration = Duration::from_secs(15);

/// If no test has begun for so long, the task that tests doesn't run any more.
const NO_TEST: Duration = Duration::from_secs(30);

/// The results of the self-test. The task that tests writes them, and the endpoints read them.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
    /// Whether an operator has asked the host to stop.
    stop_asked: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// When the last test began. None before the first one.
    tested: Option<Instant>,
    draining: Option<Draining>,
    checks: [CheckState; Check::ALL.len()],
}

/// Why a host handles nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draining {
    /// Another process is about to serve. If that fails, this one serves on.
    HandingOver,
    /// The host stops.
    Stopping,
}

/// What the host knows beside the results of the self-test, at the time of a question.
#[derive(Clone, Copy, Debug, Default)]
pub struct Present<'a> {
    /// The name of a vital task or thread that has ended.
    pub failure: Option<&'a str>,
    /// Why the store refuses writes, if it does.
    pub store_trouble: Option<&'a str>,
    /// Why clients shouldn't connect to this node of a cluster: the others may soon count it as dead, or it can't serve what they serve.
    pub cluster_troubles: &'a [String],
    /// Whether a plugin serves.
    pub is_served: bool,
}

/// What is wrong, in sentences. Empty if nothing is.
pub type Reasons = Vec<String>;

impl Health {
    /// A test begins: each check is asked for another answer. Returns the checks that have answered the test before. The others
    /// still have to answer, and aren't asked again. While the host hands over, no check is asked: another process may have the
    /// store, and the library holds still.
    pub fn begin_test(&self, now: Instant) -> Vec<Check> {
        let mut state = self.lock();
        state.tested = Some(now);
        if state.draining == Some(Draining::HandingOver) {
            return Vec::new();
        }
        let begins = |check: &Check| state.checks[*check as usize].begin();
        Check::ALL.into_iter().filter(begins).collect()
    }

    /// A check has answered.
    pub fn answer(&self, check: Check, now: Instant, result: Result<(), String>) {
        self.lock().checks[check as usize].answer(now, result);
    }

    /// Sets whether the host handles nothing, and why.
    pub fn set_draining(&self, draining: Option<Draining>) {
        self.lock().draining = draining;
    }

    /// Asks the host to stop, as a signal does.
    pub fn ask_to_stop(&self) {
        self.stop_asked.send_replace(true);
    }

    /// Waits until somebody asks the host to stop.
    pub async fn asked_to_stop(&self) {
        // The sender isn't dropped before the receiver.
        let _ = self.stop_asked.subscribe().wait_for(|is_asked| *is_asked).await;
    }

    /// Whether somebody has asked the host to stop.
    #[must_use]
    pub fn is_asked_to_stop(&self) -> bool {
        *self.stop_asked.borrow()
    }

    /// Returns why a restart would help; nothing if it wouldn't.
    #[must_use]
    pub fn dead(&self, now: Instant, present: Present<'_>) -> Reasons {
        let mut reasons: Reasons = present.failure.map(str::to_owned).into_iter().collect();
        let state = self.lock();
        if state.has_not_begun_for(NO_TEST, now) {
            reasons.push(no_test_for(NO_TEST));
        }
        for check in Check::ALL {
            let most = if check == Check::Store { UNANSWERED_BY_STORE_MAX } else { UNANSWERED_MAX };
            if state.checks[check as usize].unanswered() >= most {
                let seconds = u64::from(most) * TEST_INTERVAL.as_secs();
                reasons.push(format!("{} has not answered for {seconds} s", check.part()));
            }
        }
        reasons
    }

    /// Returns why the host shouldn't get traffic; nothing if it should.
    #[must_use]
    pub fn unready(&self, now: Instant, present: Present<'_>) -> Reasons {
        let mut reasons = self.dead(now, present);
        if !present.is_served {
            reasons.push("no plugin serves".to_owned());
        }
        if let Some(trouble) = present.store_trouble {
            reasons.push(format!("the store refuses writes: {trouble}"));
        }
        reasons.extend_from_slice(present.cluster_troubles);
        let state = self.lock();
        match state.draining {
            Some(Draining::HandingOver) => reasons.push("the host hands its work over to another process".to_owned()),
            Some(Draining::Stopping) => reasons.push("the host is stopping".to_owned()),
            None => {}
        }
        if state.has_not_begun_for(LATE_TEST, now) && !state.has_not_begun_for(NO_TEST, now) {
            reasons.push(no_test_for(LATE_TEST));
        }
        for check in Check::ALL {
            let result = &state.checks[check as usize];
            if let Some(failure) = result.failure() {
                reasons.push(format!("{}: {failure}", check.part()));
            } else if !result.has_succeeded_since(OLD) {
                reasons.push(format!("{} has not answered the last self-tests", check.part()));
            }
        }
        reasons
    }

    /// Returns the state of each check. A test that is late is a failure of the timer: nothing else could notice it, because a test
    /// begins when the timer fires.
    #[must_use]
    pub fn checks(&self, now: Instant) -> [(Check, CheckState); Check::ALL.len()] {
        let state = self.lock();
        let is_late = state.has_not_begun_for(LATE_TEST, now);
        Check::ALL.map(|check| {
            let mut shown = state.checks[check as usize].clone();
            if is_late && check == Check::Timer {
                shown.fail(no_test_for(LATE_TEST));
            }
            (check, shown)
        })
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the last test began longer ago than this.
    fn has_not_begun_for(&self, time: Duration, now: Instant) -> bool {
        self.tested.is_some_and(|tested| now.saturating_duration_since(tested) > time)
    }
}

fn no_test_for(time: Duration) -> String {
    format!("no self-test has begun for {} s", time.as_secs())
}

#[cfg(test)]
mod tests;
