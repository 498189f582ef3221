//! What a call may read of its host, beyond the state that it is given.

use std::time::{SystemTime, UNIX_EPOCH};

use bytestring::ByteString;

use super::Fault;
use crate::protocol::Topic;

/// A member of a topic, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Its number.
    pub member: u64,
    /// Its user.
    pub user: Option<Box<str>>,
    /// The id of its socket.
    pub socket_id: Option<Box<str>>,
}

/// Why a token isn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// There is none.
    Missing,
    /// It wasn't signed with this secret and salt, or it is damaged.
    Invalid,
    /// It is too old.
    Expired,
}

/// What stands around a call: other members, topics, presences, and the host's secret behind its tokens. All of it is
/// answered at once; whether the plugin may ask is checked before.
pub trait Surroundings: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// How many members a topic has.
    fn count(&self, topic: &str) -> usize;

    /// Members of a topic, so many at most.
    fn members(&self, topic: &str, most: usize) -> Vec<Person>;

    /// The topics with a prefix that come after `after`, so many at most, each with how many members it has.
    fn topics(&self, prefix: &str, after: Option<&str>, most: usize) -> Vec<(Topic, usize)>;

    /// All presences of a topic: the text of a JSON object.
    fn presences(&self, topic: &str) -> ByteString;

    /// One key's presences.
    fn presence(&self, topic: &str, key: &str) -> Option<ByteString>;

    /// Signs a JSON value, for so many seconds.
    ///
    /// # Errors
    /// Where the host has no secret, or the value is none.
    fn sign(&self, salt: &str, value: &str, max_age: Option<u64>) -> Result<String, Fault>;

    /// What was signed, as JSON.
    ///
    /// # Errors
    /// Where the host has no secret.
    fn verify(&self, salt: &str, token: &str, max_age: Option<u64>) -> Result<Result<String, TokenProblem>, Fault>;
}

/// A place where there is nobody and no secret: for a component that is only looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Surroundings for NoHost {
    fn now_ms(&self) -> u64 {
        system_now_ms()
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

/// Milliseconds since 1970, by this machine's clock.
#[must_use]
pub fn system_now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

fn no_secret() -> Fault {
    Fault::failed("this host has no secret for tokens; set `secret_key_base` in its configuration")
}
