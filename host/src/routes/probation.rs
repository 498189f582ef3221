//! Probation: the time in which a new generation of a plugin may still be taken back.
//!
//! It begins when a generation follows one that has proved itself, and goes on if another follows meanwhile. A fault counts
//! against the generation at hand only if the one that has proved itself answers the same call, so that nobody can bring a
//! build down by sending it what its predecessor couldn't handle either.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

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
pub enum Verdict {
    /// Nothing yet.
    Open,
    /// The generation has proved itself.
    Passed,
    /// It was taken back, and the one before it serves again.
    TakenBack,
}

/// A probation, shared by the routes of the generation that is on it and by the states that it has taken over.
#[derive(Debug)]
pub struct Probation {
    terms: ProbationTerms,
    began: Mutex<Instant>,
    calls: AtomicU64,
    faults: AtomicU32,
    verdict: AtomicU8,
    given_up: AtomicU64,
    news: Arc<Notify>,
}

impl Probation {
    /// One that begins now, and tells its news to who decides about it.
    #[must_use]
    pub fn new(terms: ProbationTerms, news: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            terms,
            began: Mutex::new(Instant::now()),
            calls: AtomicU64::new(0),
            faults: AtomicU32::new(0),
            verdict: AtomicU8::new(Verdict::Open as u8),
            given_up: AtomicU64::new(0),
            news,
        })
    }

    /// Another generation follows while it is open: its time and its counts begin anew.
    pub fn restart(&self) {
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.calls.store(0, Ordering::Relaxed);
        self.faults.store(0, Ordering::Relaxed);
    }

    /// The generation has answered a call.
    pub fn count_call(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.terms.calls {
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
    pub fn count_given_up(&self, commits: u64) {
        self.given_up.fetch_add(commits, Ordering::Relaxed);
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
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Whether it has failed too often, and is to be taken back.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.faults() > self.terms.faults
    }

    /// Whether it has lasted long enough, and its generation has proved itself.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        !self.has_failed() && self.calls() >= self.terms.calls && began.elapsed() >= self.terms.time
    }

    /// What has come of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.verdict.load(Ordering::Acquire) {
            verdict if verdict == Verdict::Passed as u8 => Verdict::Passed,
            verdict if verdict == Verdict::TakenBack as u8 => Verdict::TakenBack,
            _ => Verdict::Open,
        }
    }

    /// Whether nothing has come of it yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.verdict() == Verdict::Open
    }

    /// Whether its generation has proved itself, and there is no way back.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.verdict() == Verdict::Passed
    }

    /// Ends it. The states that it holds bytes of learn of it by themselves.
    pub fn end(&self, verdict: Verdict) {
        self.verdict.store(verdict as u8, Ordering::Release);
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
        let terms = ProbationTerms { time: Duration::ZERO, calls: 0, faults: 1 };
        let probation = Probation::new(terms, Arc::clone(&news));
        probation.count_fault();
        assert!(!probation.has_failed() && probation.is_over());
        probation.count_fault();
        assert!(probation.has_failed() && !probation.is_over());
        tokio::time::timeout(Duration::from_secs(1), news.notified()).await.expect("it is told");
    }
}
