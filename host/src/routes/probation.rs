//! Probation: the time in which a new generation of a plugin may still be rolled back.
//!
//! It begins when a new generation replaces one that has passed probation. If another generation is loaded in the
//! meantime, the probation continues with that one. A fault of the new generation counts only if the build that passed
//! last answers the same call. So a client can't cause a rollback with a message that the earlier build couldn't handle
//! either.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::contract::system_now_ms;

/// The length of a probation, and the faults that it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbationTerms {
    /// The shortest time that it lasts. Zero means that there is no probation.
    pub time: Duration,
    /// The smallest number of answered calls for which it lasts.
    pub calls: u64,
    /// The number of faults that it allows. One more fault rolls the generation back.
    pub faults: u32,
}

impl Default for ProbationTerms {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), calls: 100, faults: 3 }
    }
}

/// The result of a probation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbationResult {
    /// It has not ended.
    Open,
    /// The generation has passed.
    Passed,
    /// The generation was rolled back, and the one before it serves again.
    RolledBack,
}

/// A probation. The routes of the generation on probation share it, and so do the states that this generation has
/// upgraded.
///
/// A plugin's first build is on probation too, until it has answered a call. It can't be rolled back, but it has not
/// passed either.
#[derive(Debug)]
pub struct Probation {
    /// The number by which the states that keep a copy from before their upgrade refer to it, in memory and on the
    /// disk. `None` if it can't be rolled back.
    id: Option<u64>,
    terms: ProbationTerms,
    /// Behind a lock, because an `Instant` isn't atomic. The lock is held only for a copy.
    began: Mutex<Instant>,
    /// The counts are relaxed. `fetch_add` returns another value to each caller, so exactly one caller notifies the
    /// library.
    calls: AtomicU64,
    faults: AtomicU32,
    /// Written with release and read with acquire: a state that reads the result also sees everything that the library did
    /// before it set the result.
    result: AtomicU8,
    discarded_commits: AtomicU64,
    /// Whether no stored state refers to it any more. Release and acquire, as for `result`: a reader also sees the
    /// sweep's work.
    is_swept: AtomicBool,
    /// Wakes the library, which decides about the probation.
    news: Arc<Notify>,
}

/// Returns a number that no probation of this data directory has had. It is the time in milliseconds, or the last
/// number plus one if that is larger.
fn next_id() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = system_now_ms();
    let next = |last: u64| Some(now.max(last + 1));
    // Relaxed, because the numbers only have to differ.
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
    now.max(last + 1)
}

impl Probation {
    /// Creates a probation that begins now. It notifies `news` when the library should look at it.
    #[must_use]
    pub fn new(terms: ProbationTerms, news: Arc<Notify>) -> Arc<Self> {
        Self::resumed(next_id(), terms, news)
    }

    /// Creates a probation that began before the host's start. Its time and its counts start again. States that keep a
    /// copy from before their upgrade still refer to it by `id`.
    #[must_use]
    pub fn resumed(id: u64, terms: ProbationTerms, news: Arc<Notify>) -> Arc<Self> {
        Self::with(Some(id), terms, news)
    }

    /// Creates the probation of a plugin's first build. It lasts until one call is answered, and states keep no copies
    /// for it.
    #[must_use]
    pub fn without_rollback(news: Arc<Notify>) -> Arc<Self> {
        Self::with(None, ProbationTerms { time: Duration::ZERO, calls: 1, faults: u32::MAX }, news)
    }

    /// Creates a probation that ended before the host's start.
    #[must_use]
    pub fn ended(id: u64, result: ProbationResult, news: Arc<Notify>) -> Arc<Self> {
        let probation = Self::resumed(id, ProbationTerms::default(), news);
        probation.end(result);
        probation
    }

    fn with(id: Option<u64>, terms: ProbationTerms, news: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            id,
            terms,
            began: Mutex::new(Instant::now()),
            calls: AtomicU64::new(0),
            faults: AtomicU32::new(0),
            result: AtomicU8::new(ProbationResult::Open as u8),
            discarded_commits: AtomicU64::new(0),
            is_swept: AtomicBool::new(false),
            news,
        })
    }

    /// Returns the number by which states refer to it, or `None` if it can't be rolled back.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// Whether states keep a copy from before their upgrade, so that they can be rolled back.
    #[must_use]
    pub fn can_roll_back(&self) -> bool {
        self.id.is_some()
    }

    /// Records, after its end, that no stored state refers to it any more. The library may remove it then.
    pub fn mark_swept(&self) {
        self.is_swept.store(true, Ordering::Release);
        self.news.notify_one();
    }

    /// Whether the library may remove it.
    #[must_use]
    pub fn is_swept(&self) -> bool {
        self.is_swept.load(Ordering::Acquire)
    }

    /// Starts the time and the counts again, because another generation was loaded during the probation.
    pub fn restart(&self) {
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.calls.store(0, Ordering::Relaxed);
        self.faults.store(0, Ordering::Relaxed);
    }

    /// Counts a call that the generation has answered.
    pub fn count_call(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.calls_least() {
            self.news.notify_one();
        }
    }

    /// Counts a call on which the generation failed and which the build before it answered.
    pub fn count_fault(&self) {
        if self.faults.fetch_add(1, Ordering::Relaxed) == self.terms.faults {
            self.news.notify_one();
        }
    }

    /// Counts the commits that a state has lost in a rollback.
    pub fn count_discarded_commits(&self, commits: u64) {
        self.discarded_commits.fetch_add(commits, Ordering::Relaxed);
    }

    /// Returns the number of calls that the generation has answered.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Returns the number of counted faults.
    #[must_use]
    pub fn faults(&self) -> u32 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Returns the number of commits that states have lost in the rollback.
    #[must_use]
    pub fn discarded_commits(&self) -> u64 {
        self.discarded_commits.load(Ordering::Relaxed)
    }

    /// Whether it has had too many faults, and must be rolled back.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.faults() > self.terms.faults
    }

    /// The smallest number of calls. A build passes only after an answered call, even if the configuration requires
    /// none.
    fn calls_least(&self) -> u64 {
        self.terms.calls.max(1)
    }

    /// Whether it has lasted long enough, so that its generation passes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        !self.has_failed() && self.calls() >= self.calls_least() && began.elapsed() >= self.terms.time
    }

    /// Returns its result.
    #[must_use]
    pub fn result(&self) -> ProbationResult {
        match self.result.load(Ordering::Acquire) {
            result if result == ProbationResult::Passed as u8 => ProbationResult::Passed,
            result if result == ProbationResult::RolledBack as u8 => ProbationResult::RolledBack,
            _ => ProbationResult::Open,
        }
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.result() == ProbationResult::Open
    }

    /// Whether its generation has passed and can't be rolled back automatically any more.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.result() == ProbationResult::Passed
    }

    /// Ends it. States that keep a copy from before their upgrade read the result later: at their next use, or in the
    /// sweep.
    pub fn end(&self, result: ProbationResult) {
        self.result.store(result as u8, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probation(calls: u64, faults: u32) -> Arc<Probation> {
        let terms = ProbationTerms { time: Duration::from_secs(60), calls, faults };
        Probation::new(terms, Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_probation_is_over_after_its_time_and_its_calls() {
        let probation = probation(2, 0);
        tokio::time::advance(Duration::from_secs(60)).await;
        probation.count_call();
        assert!(!probation.is_over());
        probation.count_call();
        assert!(probation.is_over());
        probation.restart();
        probation.count_call();
        probation.count_call();
        assert!(!probation.is_over());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(probation.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn one_fault_more_than_allowed_notifies_the_library() {
        let news = Arc::new(Notify::new());
        let terms = ProbationTerms { time: Duration::ZERO, calls: 1, faults: 1 };
        let probation = Probation::new(terms, Arc::clone(&news));
        probation.count_call();
        tokio::time::timeout(Duration::from_secs(1), news.notified()).await.expect("a notification");
        probation.count_fault();
        assert!(!probation.has_failed() && probation.is_over());
        probation.count_fault();
        assert!(probation.has_failed() && !probation.is_over());
        tokio::time::timeout(Duration::from_secs(1), news.notified()).await.expect("a notification");
    }

    #[test]
    fn a_build_passes_only_after_an_answered_call() {
        let terms = ProbationTerms { time: Duration::ZERO, calls: 0, faults: 3 };
        for probation in [Probation::new(terms, Arc::default()), Probation::without_rollback(Arc::default())] {
            assert!(!probation.is_over());
            probation.count_call();
            assert!(probation.is_over());
        }
    }

    #[test]
    fn no_two_probations_have_the_same_number() {
        let ids: Vec<_> =
            (0..100).filter_map(|_| Probation::new(ProbationTerms::default(), Arc::default()).id()).collect();
        assert!(ids.len() == 100 && ids.is_sorted_by(|one, other| one < other));
    }
}
