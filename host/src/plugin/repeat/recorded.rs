//! What the first run of a call reads, for the second run.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytestring::ByteString;

use crate::contract::{Fault, Person, Surroundings, TokenProblem};
use crate::protocol::Topic;
use crate::store::Draft;

/// The reads of a call.
#[derive(Default)]
pub(super) struct Recorded {
    /// The values that were read, by what was asked for.
    values: BTreeMap<String, Box<dyn Any + Send>>,
    /// How often the run has asked for something that has another value each time.
    asked: BTreeMap<&'static str, usize>,
    /// The store as the call sees it.
    draft: Option<Draft>,
}

type Shared = Arc<Mutex<Recorded>>;

tokio::task_local! {
    /// The reads of the call that runs in this task, if it is run twice.
    static CURRENT: Option<Shared>;
}

/// Runs a call for the first time, and records what it reads.
pub(super) async fn first<T>(recorded: &Shared, call: impl Future<Output = T>) -> T {
    CURRENT.scope(Some(Arc::clone(recorded)), call).await
}

/// Runs a call again. It reads what the first run has read.
pub(super) async fn again<T>(recorded: &Shared, call: impl Future<Output = T>) -> T {
    lock(recorded).asked.clear();
    first(recorded, call).await
}

/// Runs work that is no part of a call: a new instance reads what it needs for its start.
pub(in crate::plugin) async fn outside<T>(work: impl Future<Output = T>) -> T {
    CURRENT.scope(None, work).await
}

/// Returns the draft of a call. Both runs see the store as it was at the first read of the first run.
pub(in crate::plugin) fn draft(begin: impl FnOnce() -> Draft) -> Draft {
    let Some(recorded) = current() else { return begin() };
    let mut recorded = lock(&recorded);
    recorded.draft.get_or_insert_with(begin).begin_again()
}

fn current() -> Option<Shared> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

// No panic can leave the values half changed, so a poisoned lock is used like any other.
fn lock(recorded: &Shared) -> MutexGuard<'_, Recorded> {
    recorded.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the value that the first run has read by this key. If it hasn't read it, reads it.
fn recorded<T: Clone + Send + 'static>(key: impl Debug, read: impl FnOnce() -> T) -> T {
    let Some(recorded) = current() else { return read() };
    let key = format!("{key:?}");
    if let Some(value) = lock(&recorded).values.get(&key).and_then(|value| value.downcast_ref::<T>()) {
        return value.clone();
    }
    let value = read();
    lock(&recorded).values.insert(key, Box::new(value.clone()));
    value
}

/// The same for something that has another value each time.
fn recorded_next<T: Clone + Send + 'static>(what: &'static str, read: impl FnOnce() -> T) -> T {
    let count = current().map_or(0, |recorded| {
        let mut recorded = lock(&recorded);
        let count = recorded.asked.entry(what).or_default();
        *count += 1;
        *count
    });
    recorded((what, count), read)
}

/// The host's data, which both runs of a call read alike. The clock stands still during a call.
pub(in crate::plugin) struct RecordedSurroundings(pub(in crate::plugin) Arc<dyn Surroundings>);

impl Surroundings for RecordedSurroundings {
    fn now_ms(&self) -> u64 {
        recorded("now", || self.0.now_ms())
    }

    fn random(&self) -> Result<u64, Fault> {
        recorded_next("random", || self.0.random())
    }

    fn unique_id(&self) -> String {
        recorded_next("id", || self.0.unique_id())
    }

    fn count(&self, topic: &str) -> usize {
        recorded(("count", topic), || self.0.count(topic))
    }

    fn members(&self, topic: &str, most: usize) -> Vec<Person> {
        recorded(("members", topic, most), || self.0.members(topic, most))
    }

    fn topics(&self, prefix: &str, after: Option<&str>, most: usize) -> Vec<(Topic, usize)> {
        recorded(("topics", prefix, after, most), || self.0.topics(prefix, after, most))
    }

    fn presences(&self, topic: &str) -> ByteString {
        recorded(("presences", topic), || self.0.presences(topic))
    }

    fn presence(&self, topic: &str, key: &str) -> Option<ByteString> {
        recorded(("presence", topic, key), || self.0.presence(topic, key))
    }

    fn sign(&self, salt: &str, value: &str, max_age: Option<u64>) -> Result<String, Fault> {
        recorded(("sign", salt, value, max_age), || self.0.sign(salt, value, max_age))
    }

    fn verify(&self, salt: &str, token: &str, max_age: Option<u64>) -> Result<Result<String, TokenProblem>, Fault> {
        recorded(("verify", salt, token, max_age), || self.0.verify(salt, token, max_age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::NoHost;

    #[tokio::test]
    async fn both_runs_of_a_call_read_the_same() {
        let host = RecordedSurroundings(Arc::new(NoHost));
        let read = async || (host.now_ms(), host.random(), host.random(), host.unique_id(), host.unique_id());
        let recorded = Shared::default();
        let one = first(&recorded, read()).await;
        assert_ne!(one.1, one.2);
        assert_ne!(one.3, one.4);
        let new_instance = again(&recorded, outside(read())).await;
        assert_ne!(new_instance.3, one.3);
        assert_eq!(again(&recorded, read()).await, one);
        let more = again(&recorded, async { (read().await, host.unique_id()) }).await;
        assert_eq!(more.0, one);
        assert_ne!(more.1, one.4, "the first run hasn't asked for it");
        assert_ne!(read().await.3, one.3);
    }
}
