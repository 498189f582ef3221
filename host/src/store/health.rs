//! Whether the store works: what failed first, since when, and when the engine is reopened.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::engine::EngineError;

/// A failure of the store. Meanwhile nothing is written, and only pages in memory can be read. The host tries by itself to
/// reopen the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// When it began, in milliseconds since 1970.
    pub since_ms: u64,
    /// The first error.
    pub reason: String,
}

/// The health of a store. The committer changes it, and all handles of the store read it.
#[derive(Debug, Default)]
pub(super) struct Health {
    trouble: Mutex<Option<Trouble>>,
    /// The last failed read that hasn't been handled, with the number of the engine's opening in which it was made.
    reported: Mutex<Option<(u64, EngineError)>>,
    /// Wakes the committer after a report.
    pub(super) alarm: Notify,
}

impl Health {
    /// Returns the present failure, if there is one.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        lock(&self.trouble).clone()
    }

    pub(super) fn set(&self, trouble: Option<Trouble>) {
        *lock(&self.trouble) = trouble;
    }

    /// Notes that something failed: the first failure is the trouble.
    pub(super) fn failed(&self, error: &EngineError) {
        if self.trouble().is_none() {
            tracing::error!("the store has failed: {error}");
            self.set(Some(Trouble { since_ms: now_ms(), reason: error.to_string() }));
        }
    }

    /// Notes that the store works.
    pub(super) fn recovered(&self) {
        if let Some(trouble) = self.trouble() {
            let lasted = Duration::from_millis(now_ms().saturating_sub(trouble.since_ms));
            tracing::warn!("the store works again, after {lasted:?}: {}", trouble.reason);
            self.set(None);
        }
    }

    /// Reports a failed read. If the error means that the engine is broken, wakes the committer.
    pub(super) fn report(&self, opening: u64, error: &EngineError) {
        if error.is_broken() {
            *lock(&self.reported) = Some((opening, error.clone()));
            self.alarm.notify_one();
        }
    }

    /// Takes the error of the last reported read. Returns none if the read was made in an earlier opening of the engine,
    /// because its error doesn't concern the present one.
    pub(super) fn take_report(&self, opening: u64) -> Option<EngineError> {
        let (reported, error) = lock(&self.reported).take()?;
        (reported == opening).then_some(error)
    }
}

/// No change can panic half-way, so a poisoned lock is still valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first pause before an attempt to reopen the engine. It doubles with each attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause, unless an attempt takes long itself.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A pause is at least this many times as long as the last attempt took, because an attempt may take long on a slow disk.
const PAUSE_PER_ATTEMPT: u32 = 10;

/// The attempts to reopen the engine.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// The number of attempts since the last successful write.
    count: u32,
    /// When the next attempt is due; none while the engine works.
    pub(super) due: Option<Instant>,
}

impl Attempts {
    /// Schedules the next attempt after a failure. `took` is how long the last attempt took, or zero if there was none.
    pub(super) fn schedule(&mut self, took: Duration) {
        let pause = PAUSE_FIRST.saturating_mul(1 << self.count.min(16)).min(PAUSE_MAX);
        self.count = self.count.saturating_add(1);
        self.due = Some(Instant::now() + pause.max(took.saturating_mul(PAUSE_PER_ATTEMPT)));
    }

    /// The engine is open again. `count` stays, because only a successful write shows that the engine really works.
    pub(super) fn opened(&mut self) {
        self.due = None;
    }

    /// A write succeeded.
    pub(super) fn written(&mut self) {
        self.count = 0;
    }

    /// Waits until an attempt is due; forever while the engine works.
    pub(super) async fn wait(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

/// Returns the time in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_counts_only_in_the_opening_it_was_made_in() {
        let health = Health::default();
        health.report(1, &EngineError::new("the key is damaged"));
        assert_eq!(health.take_report(1), None, "the rest can still be read");
        health.report(1, &EngineError::broken("no disk"));
        assert_eq!(health.take_report(2), None);
        health.report(2, &EngineError::broken("no disk"));
        assert!(health.take_report(2).is_some() && health.take_report(2).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_a_call_has_written() {
        let mut attempts = Attempts::default();
        let pause = |attempts: &mut Attempts, took| {
            attempts.schedule(took);
            attempts.due.map(|due| due - Instant::now())
        };
        assert_eq!(pause(&mut attempts, Duration::ZERO), Some(PAUSE_FIRST));
        assert_eq!(pause(&mut attempts, Duration::ZERO), Some(PAUSE_FIRST * 2));
        attempts.opened();
        assert_eq!(pause(&mut attempts, Duration::ZERO), Some(PAUSE_FIRST * 4), "the store failed again at once");
        for _ in 0..40 {
            attempts.schedule(Duration::ZERO);
        }
        assert_eq!(pause(&mut attempts, Duration::ZERO), Some(PAUSE_MAX));
        assert_eq!(pause(&mut attempts, Duration::from_secs(30)), Some(Duration::from_secs(300)));
        attempts.written();
        assert_eq!(pause(&mut attempts, Duration::ZERO), Some(PAUSE_FIRST));
    }
}
