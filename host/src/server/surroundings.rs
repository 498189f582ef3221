//! The host's data that calls of plugins may read: time, members, topics, presences, tokens.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use bytestring::ByteString;
use futures_util::future::BoxFuture;

use crate::auth::{Derivation, LEEWAY_SECONDS, Leeway, MaxAge, TokenError, Tokens, Unsignable};
use crate::channel::Node;
use crate::cluster::Peers;
use crate::contract::{Fault, NoHost, Person, Surroundings, TokenProblem, system_now_ms, system_random};
use crate::protocol::{Payload, Topic, read_value};

/// The [`Surroundings`] of calls on a real host: a node with its members and presences, the tokens, and a clock.
pub struct HostSurroundings {
    node: Arc<Node>,
    tokens: Arc<ArcSwapOption<Tokens>>,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    /// The other nodes, if the host is in a cluster.
    peers: Option<Arc<Peers>>,
}

impl HostSurroundings {
    /// Makes the surroundings of a node, without tokens and with this machine's clock.
    #[must_use]
    pub fn new(node: &Arc<Node>) -> Self {
        Self { node: Arc::clone(node), tokens: Arc::default(), clock: Box::new(system_now_ms), peers: None }
    }

    /// Sets the tokens. Without tokens, a call that signs or verifies one gets a fault.
    #[must_use]
    pub fn with_tokens(self, tokens: Option<Arc<Tokens>>) -> Self {
        self.tokens.store(tokens);
        self
    }

    /// Returns the tokens, which can be replaced later.
    pub(super) fn tokens(&self) -> Arc<ArcSwapOption<Tokens>> {
        Arc::clone(&self.tokens)
    }

    /// Sets the other nodes of the cluster. Their members count, too.
    #[must_use]
    pub fn with_peers(self, peers: Option<Arc<Peers>>) -> Self {
        Self { peers, ..self }
    }

    /// Sets another clock, which returns milliseconds since 1970.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), ..self }
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis((self.clock)())
    }
}

impl Surroundings for HostSurroundings {
    fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    fn random(&self) -> Result<u64, Fault> {
        system_random()
    }

    fn unique_id(&self) -> String {
        self.node.store.unique_id()
    }

    fn count(&self, topic: &str) -> usize {
        let here = self.node.pubsub.audience(topic).map_or(0, |audience| audience.len());
        self.peers.as_ref().map_or(here, |peers| here + peers.count(topic))
    }

    fn members(&self, topic: &str, most: usize) -> Vec<Person> {
        self.node.people(topic, most)
    }

    fn members_elsewhere(&self, topic: &str, most: usize) -> Option<BoxFuture<'static, Vec<Person>>> {
        let (peers, topic) = (Arc::clone(self.peers.as_ref()?), topic.to_owned());
        Some(Box::pin(async move { peers.members(&topic, most).await.people }))
    }

    fn topics(&self, prefix: &str, after: Option<&str>, most: usize) -> Vec<(Topic, usize)> {
        let here = self.node.pubsub.topics_under(prefix, after, most);
        match &self.peers {
            Some(peers) => peers.topics_under(here, prefix, after, most),
            None => here,
        }
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
        let tokens = self.tokens.load();
        let Some(tokens) = &*tokens else { return NoHost.sign(salt, value, max_age) };
        let derivation = derivation(salt)?;
        let value =
            read_value(value).map_err(|error| Fault::failed(format!("the value to sign isn't JSON: {error}")))?;
        let max_age = max_age.map_or_else(MaxAge::default, MaxAge::Seconds);
        let signed = tokens.sign(&derivation, &value, max_age, self.now());
        signed.map_err(|Unsignable| Fault::oversize("a token holds at most 64 KiB, nested at most 64 levels deep"))
    }

    fn verify(&self, salt: &str, token: &str, max_age: Option<u64>) -> Result<Result<String, TokenProblem>, Fault> {
        let tokens = self.tokens.load();
        let Some(tokens) = &*tokens else { return NoHost.verify(salt, token, max_age) };
        let derivation = derivation(salt)?;
        let token = Some(token).filter(|token| !token.is_empty());
        let (max_age, leeway) = (max_age.map(MaxAge::Seconds), Leeway::ahead(LEEWAY_SECONDS));
        let verified = tokens.verify(&derivation, token, max_age, leeway, self.now());
        Ok(verified.map(|value| value.to_string()).map_err(|error| match error {
            TokenError::Missing => TokenProblem::Missing,
            TokenError::Invalid => TokenProblem::Invalid,
            TokenError::Expired => TokenProblem::Expired,
        }))
    }
}

/// The maximum number of bytes of a salt that a plugin uses.
const SALT_BYTES_MAX: usize = 1024;

/// Returns how the key of a plugin's token is derived from a salt.
///
/// A new salt costs a thousand rounds of SHA-256 for each secret, about 0.4 ms, on the thread of the call, which may serve
/// connections. For two secrets, this is less than the 1 ms that a guest may run there before it has to yield, so it isn't moved to another thread. It counts as
/// CPU time of the guest. The salt's length is limited, because a longer salt takes longer to hash.
fn derivation(salt: &str) -> Result<Derivation, Fault> {
    if salt.len() > SALT_BYTES_MAX {
        let bytes = salt.len();
        return Err(Fault::oversize(format!("a token's salt has {bytes} bytes; at most {SALT_BYTES_MAX}")));
    }
    Ok(Derivation::of(salt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::FaultKind;

    #[test]
    fn a_salt_that_is_too_long_is_refused() {
        assert_eq!(derivation(&"s".repeat(SALT_BYTES_MAX)).map(|derivation| derivation.salt.len()), Ok(SALT_BYTES_MAX));
        assert_eq!(derivation(&"s".repeat(SALT_BYTES_MAX + 1)).map_err(|fault| fault.kind), Err(FaultKind::Oversize));
    }
}
