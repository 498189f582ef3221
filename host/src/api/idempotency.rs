//! Requests that take effect once, although they are sent several times: those with the header `Idempotency-Key`.
//!
//! The answers to messages for topics are stored, in the transaction of the callback, or when they come after it. The answers to all
//! other requests are only here, in memory, because what these requests do isn't stored either.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::http::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::body::Body;
use super::late_answers::LateAnswers;
use super::{Api, ApiError};
use crate::channel::IdempotentRequest;
use crate::counts::Limit;

/// The header that has the key.
const HEADER: &str = "idempotency-key";

/// The most bytes of a key.
const KEY_BYTES_MAX: usize = 255;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The most answers that are kept in memory. The oldest ones are dropped first.
const ANSWERS_MAX: usize = 10_000;

/// The key of a request, and the digest of its body.
pub(super) struct IdempotencyKey {
    key: Box<str>,
    digest: [u8; 32],
}

impl IdempotencyKey {
    /// Reads the key of a request, if it has one.
    pub(super) fn read(headers: &HeaderMap, body: &Body) -> Result<Option<Self>, ApiError> {
        let mut keys = headers.get_all(HEADER).iter();
        let Some(key) = keys.next() else { return Ok(None) };
        let is_valid =
            |key: &&str| (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        let key = key.to_str().ok().filter(is_valid).filter(|_| keys.next().is_none());
        let key = key.ok_or_else(|| {
            Limit::IdempotencyKey.hit();
            ApiError::bad(format!(
                "`Idempotency-Key` must be one value of 1 to {KEY_BYTES_MAX} visible ASCII characters"
            ))
        })?;
        Ok(Some(Self { key: key.into(), digest: Sha256::digest(&body.0).into() }))
    }

    /// The request of one of its messages, for the store.
    pub(super) fn of_part(&self, part: usize) -> Arc<IdempotentRequest> {
        Arc::new(IdempotentRequest {
            key: self.key.clone(),
            // A request has at most 1,000 messages.
            part: u16::try_from(part).unwrap_or(u16::MAX),
            digest: self.digest,
            lifetime_ms: u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// The answers that are kept in memory, and those that requests wait for.
#[derive(Default)]
pub struct Answers {
    kept: Mutex<AnswerTable>,
    pub(super) late: LateAnswers,
}

#[derive(Default)]
struct AnswerTable {
    by_name: HashMap<Name, Arc<KeyedAnswer>>,
    /// In the order in which they were added.
    order: VecDeque<(Instant, Name)>,
}

/// The path of a call, and a key.
type Name = (&'static str, Box<str>);

/// One request. Its answer is set once: another request with the same key waits for it meanwhile.
struct KeyedAnswer {
    digest: [u8; 32],
    answer: OnceCell<Value>,
}

impl Answers {
    /// Returns the entry of a request, which may be new.
    fn entry(&self, call: &'static str, key: IdempotencyKey) -> Result<Arc<KeyedAnswer>, ApiError> {
        let IdempotencyKey { key, digest } = key;
        let (mut kept, now) = (self.lock(), Instant::now());
        kept.drop_old(now);
        let name = (call, key);
        if let Some(entry) = kept.by_name.get(&name) {
            return if entry.digest == digest { Ok(Arc::clone(entry)) } else { Err(ApiError::key_reused()) };
        }
        let entry = Arc::new(KeyedAnswer { digest, answer: OnceCell::new() });
        kept.order.push_back((now, name.clone()));
        kept.by_name.insert(name, Arc::clone(&entry));
        Ok(entry)
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, AnswerTable> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AnswerTable {
    /// Drops the answers that are too old, and makes room for another one.
    fn drop_old(&mut self, now: Instant) {
        while let Some((since, _)) = self.order.front()
            && (self.order.len() >= ANSWERS_MAX || now.duration_since(*since) >= KEPT)
        {
            if self.order.len() >= ANSWERS_MAX {
                Limit::IdempotencyAnswers.hit();
            }
            if let Some((_, name)) = self.order.pop_front() {
                self.by_name.remove(&name);
            }
        }
    }
}

impl Api {
    /// Does the work of a request once for each key of a call, and returns its answer. After an error, the next request with the
    /// key does the work.
    pub(super) async fn once(
        &self,
        call: &'static str,
        key: Option<IdempotencyKey>,
        work: impl Future<Output = Result<Value, ApiError>> + Send + 'static,
    ) -> Result<Json<Value>, ApiError> {
        let entry = key.map(|key| self.answers.entry(call, key)).transpose()?;
        // In a task, so that it is done even if the client closes its connection, which drops the handler's future.
        let done = tokio::spawn(async move {
            match entry {
                None => work.await,
                Some(entry) => entry.answer.get_or_try_init(|| work).await.cloned(),
            }
        });
        done.await.map_err(|_| ApiError::fault())?.map(Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, digest: u8) -> IdempotencyKey {
        IdempotencyKey { key: name.into(), digest: [digest; 32] }
    }

    #[tokio::test(start_paused = true)]
    async fn a_bounded_number_of_answers_is_kept_for_a_day() {
        let answers = Answers::default();
        let first = answers.entry("a", key("k", 1)).expect("a new key");
        assert!(Arc::ptr_eq(&first, &answers.entry("a", key("k", 1)).expect("the same request")));
        assert!(answers.entry("a", key("k", 2)).is_err(), "another body");
        assert!(answers.entry("b", key("k", 2)).is_ok(), "another call");
        tokio::time::advance(KEPT).await;
        assert!(answers.entry("a", key("k", 2)).is_ok(), "after a day");
        let hits = Limit::IdempotencyAnswers.hits();
        for n in 0..ANSWERS_MAX {
            assert!(answers.entry("c", key(&n.to_string(), 1)).is_ok());
        }
        let kept = answers.lock();
        assert_eq!((kept.by_name.len(), kept.order.len()), (ANSWERS_MAX, ANSWERS_MAX));
        drop(kept);
        assert!(answers.entry("a", key("k", 3)).is_ok(), "the oldest one was dropped");
        assert!(Limit::IdempotencyAnswers.hits() > hits);
    }
}
