//! Probation: the time in which a new generation of a plugin may still be taken back.
//!
//! It begins when a generation follows one that has proved itself, and goes on if another follows meanwhile. A fault counts
//! against the generation at hand only if the one that has proved itself answers the same call, so that nobody can bring a
//! build down by sending it what its predecessor couldn't handle either.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::contract::system_now_ms;

/// How long a probation is, and what it forgives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbationTerms {
    /// It lasts at least so long; none means that there is no probation.
    pub time: Duration,
    /// It lasts for at least so many calls.
    pub calls: u64,
    /// Faults that it forgives. One more, and the generation is taken back.
    pub faults: u32,
}

impl Default for ProbationTerms {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), calls: 100, faults: 3 }
    }
}

/// What has come of a probation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbationResult {
    /// Nothing yet.
    Open,
    /// The generation has proved itself.
    Passed,
    /// It was taken back, and the one before it serves again.
    RolledBack,
}

/// A probation, shared by the routes of the generation that is on it and by the states that it has taken over.
///
/// A build that no other build came before is on one as well, until it has answered a call: it has nothing to go back to, but
/// it isn't proved either.
#[derive(Debug)]
pub struct Probation {
    /// By what the states that it holds bytes of know it, on the disk too. None where there is no way back.
    id: Option<u64>,
    terms: ProbationTerms,
    began: Mutex<Instant>,
    calls: AtomicU64,
    faults: AtomicU32,
    result: AtomicU8,
    discarded_commits: AtomicU64,
    /// Whether no stored state is left that it holds bytes of.
    is_swept: AtomicBool,
    news: Arc<Notify>,
}

/// A number that no probation of this data directory has had: they are counted on from the time.
fn next_id() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = system_now_ms();
    let next = |last: u64| Some(now.max(last + 1));
    // Only the numbers have to differ, and the counter orders nothing else.
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
    now.max(last + 1)
}

impl Probation {
    /// One that begins now, and tells its news to who decides about it.
    #[must_use]
    pub fn new(terms: ProbationTerms, news: Arc<Notify>) -> Arc<Self> {
        Self::resumed(next_id(), terms, news)
    }

    /// One that began before the host's start. Its time and its counts begin anew; the states that it holds bytes of are still
    /// there.
    #[must_use]
    pub fn resumed(id: u64, terms: ProbationTerms, news: Arc<Notify>) -> Arc<Self> {
        Self::with(Some(id), terms, news)
    }

    /// Of a build that no other build came before: it lasts until one call is answered, and keeps no states.
    #[must_use]
    pub fn without_rollback(news: Arc<Notify>) -> Arc<Self> {
        Self::with(None, ProbationTerms { time: Duration::ZERO, calls: 1, faults: u32::MAX }, news)
    }

    /// One that has ended before the host's start.
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

    /// By what stored states know it; none where there is no way back.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.id
    }

    /// Whether states are kept as they were, so that they may return to that.
    #[must_use]
    pub fn can_roll_back(&self) -> bool {
        self.id.is_some()
    }

    /// After its end: no stored state is left that it holds bytes of, so it can be forgotten.
    pub fn mark_swept(&self) {
        self.is_swept.store(true, Ordering::Release);
        self.news.notify_one();
    }

    /// Whether it can be forgotten.
    #[must_use]
    pub fn is_swept(&self) -> bool {
        self.is_swept.load(Ordering::Acquire)
    }

    /// Another generation follows while it is open: its time and its counts begin anew.
    pub fn restart(&self) {
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.calls.store(0, Ordering::Relaxed);
        self.faults.store(0, Ordering::Relaxed);
    }

    /// The generation has answered a call.
    pub fn count_call(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.calls_least() {
            self.news.notify_one();
        }
    }

    /// The generation has failed on a call that the one before it answers.
    pub fn count_fault(&self) {
        if self.faults.fetch_add(1, Ordering::Relaxed) == self.terms.faults {
            self.news.notify_one();
        }
    }

    /// A state has gone back to what it was, and so many commits were given up with it.
    pub fn count_discarded_commits(&self, commits: u64) {
        self.discarded_commits.fetch_add(commits, Ordering::Relaxed);
    }

    /// Calls that the generation has answered.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Faults that count against it.
    #[must_use]
    pub fn faults(&self) -> u32 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Commits that were given up since it was taken back.
    #[must_use]
    pub fn discarded_commits(&self) -> u64 {
        self.discarded_commits.load(Ordering::Relaxed)
    }

    /// Whether it has failed too often, and is to be taken back.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.faults() > self.terms.faults
    }

    /// So many calls it lasts at least. Without an answer nothing is proved, whatever the configuration says.
    fn calls_least(&self) -> u64 {
        self.terms.calls.max(1)
    }

    /// Whether it has lasted long enough, and its generation has proved itself.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        !self.has_failed() && self.calls() >= self.calls_least() && began.elapsed() >= self.terms.time
    }

    /// What has come of it.
    #[must_use]
    pub fn result(&self) -> ProbationResult {
        match self.result.load(Ordering::Acquire) {
            result if result == ProbationResult::Passed as u8 => ProbationResult::Passed,
            result if result == ProbationResult::RolledBack as u8 => ProbationResult::RolledBack,
            _ => ProbationResult::Open,
        }
    }

    /// Whether nothing has come of it yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.result() == ProbationResult::Open
    }

    /// Whether its generation has proved itself, and there is no way back.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.result() == ProbationResult::Passed
    }

    /// Ends it. The states that it holds bytes of learn of it by themselves.
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
    async fn it_is_over_after_its_time_and_its_calls() {
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
    async fn so_many_faults_are_forgiven_and_the_next_is_told() {
        let news = Arc::new(Notify::new());
        let terms = ProbationTerms { time: Duration::ZERO, calls: 1, faults: 1 };
        let probation = Probation::new(terms, Arc::clone(&news));
        probation.count_call();
        tokio::time::timeout(Duration::from_secs(1), news.notified()).await.expect("it is told");
        probation.count_fault();
        assert!(!probation.has_failed() && probation.is_over());
        probation.count_fault();
        assert!(probation.has_failed() && !probation.is_over());
        tokio::time::timeout(Duration::from_secs(1), news.notified()).await.expect("it is told");
    }

    #[test]
    fn only_an_answered_call_proves_a_build() {
        let terms = ProbationTerms { time: Duration::ZERO, calls: 0, faults: 3 };
        for probation in [Probation::new(terms, Arc::default()), Probation::without_rollback(Arc::default())] {
            assert!(!probation.is_over());
            probation.count_call();
            assert!(probation.is_over());
        }
    }

    #[test]
    fn no_two_probations_have_one_number() {
        let ids: Vec<_> =
            (0..100).filter_map(|_| Probation::new(ProbationTerms::default(), Arc::default()).id()).collect();
        assert!(ids.len() == 100 && ids.is_sorted_by(|one, other| one < other));
    }
}
