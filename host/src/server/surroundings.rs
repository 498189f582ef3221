//! What calls may read of their host.

use std::sync::Arc;

use bytestring::ByteString;

use super::Config;
use crate::channel::Node;
use crate::contract::{Fault, Nowhere, Person, Surroundings, TokenProblem, system_now_ms};
use crate::protocol::{Payload, Topic};

/// The members and presences of a node.
pub struct HostSurroundings {
    node: Arc<Node>,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl HostSurroundings {
    /// Those of a host with this configuration.
    ///
    /// # Errors
    /// Where the secret that it names can't be read.
    pub fn of(node: &Arc<Node>, _config: &Config) -> anyhow::Result<Self> {
        Ok(Self { node: Arc::clone(node), clock: Box::new(system_now_ms) })
    }

    /// The same with another clock, which gives milliseconds since 1970.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), ..self }
    }
}

impl Surroundings for HostSurroundings {
    fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    fn count(&self, topic: &str) -> usize {
        self.node.pubsub.audience(topic).map_or(0, |audience| audience.len())
    }

    fn members(&self, topic: &str, most: usize) -> Vec<Person> {
        self.node.people(topic, most)
    }

    fn topics(&self, prefix: &str, after: Option<&str>, most: usize) -> Vec<(Topic, usize)> {
        self.node.pubsub.topics_under(prefix, after, most)
    }

    fn presences(&self, topic: &str) -> ByteString {
        match self.node.presence.state(&Topic::new(topic)) {
            Payload::Json(text) => text,
            Payload::Binary(_) => ByteString::from_static("{}"),
        }
    }

    fn presence(&self, topic: &str, key: &str) -> Option<ByteString> {
        self.node.presence.get(&Topic::new(topic), key)
    }

    fn sign(&self, salt: &str, value: &str, max_age: Option<u64>) -> Result<String, Fault> {
        Nowhere.sign(salt, value, max_age)
    }

    fn verify(&self, salt: &str, token: &str, max_age: Option<u64>) -> Result<Result<String, TokenProblem>, Fault> {
        Nowhere.verify(salt, token, max_age)
    }
}
