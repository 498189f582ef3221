//! Messages with an idempotency key whose callers wait for an answer that comes after the callback.
//!
//! A request is sent again because its connection has broken. So the wait doesn't belong to a connection: a repetition waits for
//! the same answer, and an answer that has come is stored for the repetitions after that.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::channel::{Delivered, IdempotentRequest};

/// The requests that wait. Each one is a message under way, so their number has the limit of these.
#[derive(Clone, Default)]
pub(super) struct LateAnswers(Arc<Mutex<HashMap<Name, Wait>>>);

/// A key, the place of the message in its request, and the digest of the request.
type Name = (Box<str>, u16, [u8; 32]);

struct Wait {
    /// When the last caller stops waiting.
    until: Instant,
    outcome: watch::Receiver<Option<Delivered>>,
}

impl LateAnswers {
    /// Waits for the answer to a request, for at most `wait`. The first of the callers that wait at the same time sends the message,
    /// by the future that `send` makes. Returns none if no answer came in time.
    pub(super) async fn wait<F>(
        &self,
        request: &IdempotentRequest,
        wait: Duration,
        send: impl FnOnce() -> F,
    ) -> Option<Delivered>
    where
        F: Future<Output = Delivered> + Send + 'static,
    {
        let until = Instant::now() + wait;
        let mut outcome = self.enter((request.key.clone(), request.part, request.digest), until, send);
        // The sender is dropped without an outcome if nobody waits any more.
        timeout_at(until, outcome.wait_for(Option::is_some)).await.ok()?.ok()?.clone()
    }

    /// Returns where the outcome of a request comes, and sends its message unless it is sent already.
    fn enter<F>(&self, name: Name, until: Instant, send: impl FnOnce() -> F) -> watch::Receiver<Option<Delivered>>
    where
        F: Future<Output = Delivered> + Send + 'static,
    {
        let mut waits = self.lock();
        if let Some(wait) = waits.get_mut(&name) {
            wait.until = wait.until.max(until);
            return wait.outcome.clone();
        }
        let (told, outcome) = watch::channel(None);
        waits.insert(name.clone(), Wait { until, outcome: outcome.clone() });
        drop(waits);
        let (late, sending) = (self.clone(), send());
        tokio::spawn(async move {
            if let Some(delivered) = late.until_answered(&name, sending).await {
                told.send_replace(Some(delivered));
            }
        });
        outcome
    }

    /// Waits for as long as a caller waits, and removes the entry.
    async fn until_answered(&self, name: &Name, sending: impl Future<Output = Delivered>) -> Option<Delivered> {
        let mut sending = pin!(sending);
        loop {
            let until = self.lock().get(name).map(|wait| wait.until)?;
            let delivered = timeout_at(until, &mut sending).await.ok();
            let mut waits = self.lock();
            // A repetition may have begun to wait meanwhile.
            if delivered.is_some() || waits.get(name).is_none_or(|wait| wait.until <= until) {
                waits.remove(name);
                return delivered;
            }
        }
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::contract::Reply;
    use crate::protocol::Payload;

    const SECOND: Duration = Duration::from_secs(1);

    fn request() -> IdempotentRequest {
        IdempotentRequest { key: "k".into(), part: 0, digest: [1; 32], lifetime_ms: 1 }
    }

    fn answer() -> Delivered {
        Ok(Some(Reply { status: "ok".into(), payload: Payload::Json("[1]".into()) }))
    }

    /// A caller in a task. Its message is answered by the sender.
    fn caller(late: &LateAnswers, wait: Duration) -> (tokio::task::JoinHandle<Option<Delivered>>, oneshot::Sender<()>) {
        let (late, (answers, answered)) = (late.clone(), oneshot::channel());
        let send = || async move {
            // A sender that is dropped never answers.
            if answered.await.is_err() {
                std::future::pending::<()>().await;
            }
            answer()
        };
        (tokio::spawn(async move { late.wait(&request(), wait, send).await }), answers)
    }

    #[tokio::test(start_paused = true)]
    async fn a_repetition_waits_for_the_answer_to_the_first_message() {
        let late = LateAnswers::default();
        let (first, answers) = caller(&late, SECOND);
        tokio::task::yield_now().await;
        // The first caller is gone, as one whose connection has broken.
        first.abort();
        tokio::time::advance(SECOND / 2).await;
        let (second, _unused) = caller(&late, SECOND);
        tokio::time::advance(SECOND * 3 / 4).await;
        answers.send(()).expect("it still waits");
        assert_eq!(second.await.expect("no panic"), Some(answer()));
        assert!(late.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_when_the_last_caller_has_stopped() {
        let late = LateAnswers::default();
        let (first, answers) = caller(&late, SECOND);
        assert_eq!(first.await.expect("no panic"), None);
        tokio::time::sleep(SECOND).await;
        assert!(late.lock().is_empty() && answers.is_closed(), "the message is waited for no longer");
        // The next caller is a first one.
        let (next, answers) = caller(&late, SECOND);
        answers.send(()).expect("it waits");
        assert_eq!(next.await.expect("no panic"), Some(answer()));
    }
}
