//! Whether the store works: what has failed, since when, and who is to see to it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::engine::EngineError;

/// The store doesn't work: nothing is written, and what isn't in memory can't be read. The host tries by itself to open it anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// What failed first.
    pub reason: String,
}

/// What all handles of a store see of its health.
#[derive(Debug, Default)]
pub(super) struct Health {
    trouble: Mutex<Option<Trouble>>,
    /// A read that failed, with the opening of the engine that it was made in.
    reported: Mutex<Option<(u64, EngineError)>>,
    /// Told of it.
    pub(super) alarm: Notify,
}

impl Health {
    /// What is wrong, if something is.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        lock(&self.trouble).clone()
    }

    pub(super) fn set(&self, trouble: Option<Trouble>) {
        *lock(&self.trouble) = trouble;
    }

    /// A read failed. If that is for good, the thread that writes sees to it.
    pub(super) fn report(&self, opening: u64, error: &EngineError) {
        if error.is_broken() {
            *lock(&self.reported) = Some((opening, error.clone()));
            self.alarm.notify_one();
        }
    }

    /// The read that failed last, unless it was made in an earlier opening of the engine: then it says nothing of this one.
    pub(super) fn take_report(&self, opening: u64) -> Option<EngineError> {
        let (reported, error) = lock(&self.reported).take()?;
        (reported == opening).then_some(error)
    }
}

/// Nothing panics while it holds one of these locks, so the content of a poisoned one is good as well.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first pause before the engine is opened anew. It doubles with each attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest, unless an attempt itself takes long.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A pause is so many times as long as the attempt before it took: opening may read the whole file.
const PAUSE_PER_ATTEMPT: u32 = 10;

/// When the engine is opened anew.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Since something was last written by a call.
    count: u32,
    /// When the next one is due; none while the engine works.
    pub(super) due: Option<Instant>,
}

impl Attempts {
    /// The engine failed, or an attempt did that took so long.
    pub(super) fn schedule(&mut self, took: Duration) {
        let pause = PAUSE_FIRST.saturating_mul(1 << self.count.min(16)).min(PAUSE_MAX);
        self.count = self.count.saturating_add(1);
        self.due = Some(Instant::now() + pause.max(took.saturating_mul(PAUSE_PER_ATTEMPT)));
    }

    /// The engine is open again. Only what a call writes shows whether that lasts.
    pub(super) fn opened(&mut self) {
        self.due = None;
    }

    /// A call's writes are done.
    pub(super) fn written(&mut self) {
        self.count = 0;
    }

    /// Waits until one is due; for ever while the engine works.
    pub(super) async fn wait(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_is_heard_of_only_while_its_opening_lasts() {
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
        assert_eq!(pause(&mut attempts, Duration::ZERO), Some(PAUSE_FIRST * 4), "it failed again at once");
        for _ in 0..40 {
            attempts.schedule(Duration::ZERO);
        }
        assert_eq!(pause(&mut attempts, Duration::ZERO), Some(PAUSE_MAX));
        assert_eq!(pause(&mut attempts, Duration::from_secs(30)), Some(Duration::from_secs(300)));
        attempts.written();
        assert_eq!(pause(&mut attempts, Duration::ZERO), Some(PAUSE_FIRST));
    }
}
