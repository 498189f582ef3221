//! The host's data that a call may read, apart from the state that the call is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytestring::ByteString;
use futures_util::future::BoxFuture;

use super::Fault;
use crate::protocol::Topic;

/// The time in milliseconds since 1970.
pub type NowMs = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A member of a topic, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The member's number.
    pub member: u64,
    /// The member's user.
    pub user: Option<Box<str>>,
    /// The id of the member's socket.
    pub socket_id: Option<Box<str>>,
}

/// The reason why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// The token is missing.
    Missing,
    /// The token wasn't signed with this secret and salt, or it is damaged.
    Invalid,
    /// The token has expired.
    Expired,
}

/// The host as a call sees it: time, randomness and ids; other members, topics and presences; tokens signed with the host's
/// secret. Nothing of these reaches a plugin in another way, so a test that sets them decides all that a call can read
/// beside the store. Every method returns at once. The caller has already checked that the plugin may ask.
pub trait Surroundings: Send + Sync {
    /// Returns the current time in milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Returns a random number that cannot be predicted.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the operating system has no randomness.
    fn random(&self) -> Result<u64, Fault>;

    /// Returns a new id of 20 characters. Ids sort in the order in which they were made.
    fn unique_id(&self) -> String;

    /// Returns the number of members of a topic.
    fn count(&self, topic: &str) -> usize;

    /// Returns up to `most` members of a topic. In a cluster these are the ones at this node.
    fn members(&self, topic: &str, most: usize) -> Vec<Person>;

    /// In a cluster, returns a future that asks the other nodes for up to `most` members of a topic. It ends within a moment,
    /// whether all have answered or not. Returns none without a cluster.
    fn members_elsewhere(&self, _topic: &str, _most: usize) -> Option<BoxFuture<'static, Vec<Person>>> {
        None
    }

    /// Returns up to `most` topics that begin with `prefix` and sort after `after`, each with its number of members.
    fn topics(&self, prefix: &str, after: Option<&str>, most: usize) -> Vec<(Topic, usize)>;

    /// Returns all presences of a topic, as the text of a JSON object.
    fn presences(&self, topic: &str) -> ByteString;

    /// Returns the presences of one key, as the text of a JSON object, if the key is present.
    fn presence(&self, topic: &str, key: &str) -> Option<ByteString>;

    /// Signs a JSON value. The token is valid for `max_age` seconds, or for a day if `max_age` is `None`.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the host has no secret, or if `value` is not valid JSON.
    fn sign(&self, salt: &str, value: &str, max_age: Option<u64>) -> Result<String, Fault>;

    /// Returns the signed value of a token, as JSON, or the reason why the token is refused. `max_age`, in seconds,
    /// overrides the limit in the token.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the host has no secret.
    fn verify(&self, salt: &str, token: &str, max_age: Option<u64>) -> Result<Result<String, TokenProblem>, Fault>;
}

/// Surroundings without members, topics or a secret, for a component that is only inspected.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Surroundings for NoHost {
    fn now_ms(&self) -> u64 {
        system_now_ms()
    }

    fn random(&self) -> Result<u64, Fault> {
        system_random()
    }

    /// Nothing of a component that is only inspected is stored, so these ids are unique only within this process.
    fn unique_id(&self) -> String {
        // Relaxed, because only the uniqueness of the number matters.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        format!("{:020}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    fn count(&self, _: &str) -> usize {
        0
    }

    fn members(&self, _: &str, _: usize) -> Vec<Person> {
        Vec::new()
    }

    fn topics(&self, _: &str, _: Option<&str>, _: usize) -> Vec<(Topic, usize)> {
        Vec::new()
    }

    fn presences(&self, _: &str) -> ByteString {
        ByteString::from_static("{}")
    }

    fn presence(&self, _: &str, _: &str) -> Option<ByteString> {
        None
    }

    fn sign(&self, _: &str, _: &str, _: Option<u64>) -> Result<String, Fault> {
        Err(no_secret())
    }

    fn verify(&self, _: &str, _: &str, _: Option<u64>) -> Result<Result<String, TokenProblem>, Fault> {
        Err(no_secret())
    }
}

/// Returns the time in milliseconds since 1970, by this machine's clock.
#[must_use]
pub fn system_now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a random number from the operating system.
///
/// # Errors
/// Returns a [`Fault`] if the operating system has none.
pub fn system_random() -> Result<u64, Fault> {
    getrandom::u64().map_err(|error| Fault::failed(format!("no random number is available: {error}")))
}

fn no_secret() -> Fault {
    Fault::failed("this host has no secret for tokens; set `secret_key_base` in its configuration")
}
