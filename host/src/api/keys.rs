//! The API keys of a host: what each one allows, and which of them is presented.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Deserialize;
use tokio::sync::watch;

use super::ApiError;
use crate::auth::{ApiKeyHash, Secret};
use crate::protocol::Pattern;

/// The maximum number of a key's topics that an error lists.
const TOPICS_SHOWN: usize = 10;

/// What a key may be used for. Each call of the API needs one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To send events to the members of topics.
    Broadcast,
    /// To send events to topics, and get the answers of plugins.
    Send,
    /// To read about topics, members, presences, events, plugins and the host.
    Read,
    /// To change the host: plugins, sockets, the configuration.
    Operate,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Broadcast, Self::Send, Self::Read, Self::Operate];

    /// Returns its name, as it is in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Send => "send",
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or("the scopes are `broadcast`, `send`, `read` and `operate`")
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key of the API, and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name, for people.
    pub name: String,
    /// Its id, for logs.
    pub id: String,
    /// Its hash.
    pub hash: ApiKeyHash,
    /// The calls that it may be used for.
    pub scopes: Vec<Scope>,
    /// The topics that it may be used for.
    pub topics: Vec<Pattern>,
}

impl ApiKey {
    /// Makes a key for all calls and all topics: the one that `api.key` names, or that the host makes.
    #[must_use]
    pub fn for_everything(key: &Secret) -> Self {
        Self {
            name: "api.key".into(),
            id: "api.key".into(),
            hash: ApiKeyHash::of_secret(key),
            scopes: Scope::ALL.to_vec(),
            topics: vec![Pattern::Prefix("".into())],
        }
    }
}

/// The keys that are valid now. They can be replaced while requests are answered.
pub struct Access {
    keys: ArcSwap<Vec<Arc<ListedKey>>>,
}

struct ListedKey {
    key: Arc<ApiKey>,
    /// Tells the callers that use the key when it is removed: the sender is dropped then.
    removed: watch::Sender<()>,
}

impl Access {
    /// Grants access to requests with one of these keys.
    #[must_use]
    pub fn new(keys: Vec<ApiKey>) -> Self {
        let access = Self { keys: ArcSwap::default() };
        access.replace(keys);
        access
    }

    /// Replaces the keys. A key that isn't among the new ones, or allows something else now, loses its event streams: a
    /// client that connects again gets what the key allows from now on. Must not be called twice at a time.
    pub fn replace(&self, keys: Vec<ApiKey>) {
        let before = self.keys.load_full();
        let entry = |key: ApiKey| {
            let known = before.iter().find(|entry| *entry.key == key);
            known.cloned().unwrap_or_else(|| Arc::new(ListedKey { key: Arc::new(key), removed: watch::channel(()).0 }))
        };
        self.keys.store(Arc::new(keys.into_iter().map(entry).collect()));
    }

    /// Finds the presented key. All hashes are compared, each in constant time, so the time tells nothing about a key.
    pub(super) fn find(&self, presented: &[u8]) -> Option<Caller> {
        let hash = ApiKeyHash::of(presented);
        let keys = self.keys.load();
        let mut found = None;
        for entry in keys.iter() {
            if entry.key.hash.matches(&hash) {
                found = Some(entry);
            }
        }
        let entry = found?;
        Some(Caller { key: Arc::clone(&entry.key), removed: entry.removed.subscribe() })
    }
}

/// The key with which a request was made.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) key: Arc<ApiKey>,
    removed: watch::Receiver<()>,
}

impl Caller {
    /// Checks that the key has a scope.
    pub(super) fn check_scope(&self, scope: Scope) -> Result<(), ApiError> {
        if self.key.scopes.contains(&scope) {
            return Ok(());
        }
        let has = self.key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join("`, `");
        Err(ApiError::out_of_scope(
            "missing_scope",
            format!("this call needs the scope `{scope}`; the key {} has `{has}`", self.shown()),
        ))
    }

    /// Checks that the key is for a topic.
    pub(super) fn check_topic(&self, topic: &str) -> Result<(), ApiError> {
        let is_granted = self.key.topics.iter().any(|pattern| pattern.matches(topic));
        if is_granted { Ok(()) } else { Err(self.other_topic(&format!("the topic `{topic}`"))) }
    }

    /// Checks that the key is for all topics of a pattern.
    pub(super) fn check_pattern(&self, wanted: &Pattern) -> Result<(), ApiError> {
        match wanted {
            Pattern::Exact(topic) => self.check_topic(topic),
            Pattern::Prefix(prefix) => self.check_prefix(prefix),
        }
    }

    /// Checks that the key is for all topics with a prefix.
    pub(super) fn check_prefix(&self, prefix: &str) -> Result<(), ApiError> {
        let is_granted = self.key.topics.iter().any(|pattern| pattern.matches_all(prefix));
        if is_granted { Ok(()) } else { Err(self.other_topic(&format!("all topics `{prefix}*`"))) }
    }

    /// Checks that the key is for all topics, for a call that isn't about certain ones.
    pub(super) fn check_all_topics(&self) -> Result<(), ApiError> {
        self.check_prefix("")
    }

    /// Completes when the key is removed.
    pub(super) async fn removed(&mut self) {
        // Nothing is ever sent, so this ends only when the sender is dropped.
        while self.removed.changed().await.is_ok() {}
    }

    fn other_topic(&self, wanted: &str) -> ApiError {
        let topics =
            self.key.topics.iter().take(TOPICS_SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("`, `");
        let more = if self.key.topics.len() > TOPICS_SHOWN { " and others" } else { "" };
        let message = format!("this call is about {wanted}; the key {} is only for `{topics}`{more}", self.shown());
        ApiError::out_of_scope("topic_not_allowed", message)
    }

    fn shown(&self) -> String {
        format!("`{}` ({})", self.key.name, self.key.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str, scopes: &[Scope], topics: &[&str]) -> ApiKey {
        let topics = topics.iter().map(|topic| Pattern::parse(topic).expect("a pattern")).collect();
        let hash = ApiKeyHash::of(secret.as_bytes());
        ApiKey { name: secret.into(), id: "id".into(), hash, scopes: scopes.to_vec(), topics }
    }

    #[test]
    fn a_key_is_found_by_its_hash() {
        let keys = [ApiKey::for_everything(&Secret::new(b"sesame")), key("b", &[Scope::Read], &["*"])];
        let access = Access::new(keys.to_vec());
        let name = |presented: &[u8]| access.find(presented).map(|caller| caller.key.name.clone());
        assert_eq!((name(b"sesame"), name(b"b")), (Some("api.key".into()), Some("b".into())));
        assert_eq!((name(b""), name(b"sesam"), name(b"sesame2")), (None, None, None));
    }

    #[test]
    fn topics_are_matched_by_pattern() {
        let access = Access::new(vec![key("a", &[Scope::Read], &["room:*", "lobby"])]);
        let caller = access.find(b"a").expect("a key");
        assert!(caller.check_topic("room:1").is_ok() && caller.check_topic("lobby").is_ok());
        assert!(caller.check_topic("lobby2").is_err() && caller.check_topic("roo").is_err());
        let pattern = |text| caller.check_pattern(&Pattern::parse(text).expect("a pattern")).is_ok();
        assert!(pattern("room:*") && pattern("room:1*") && pattern("lobby"));
        assert!(!pattern("*") && !pattern("room*") && !pattern("lobby*"), "they have further topics");
        assert!(caller.check_all_topics().is_err());
        let all = Access::new(vec![key("a", &[Scope::Read], &["*"])]).find(b"a").expect("a key");
        assert!(all.check_all_topics().is_ok() && all.check_topic("x").is_ok());
    }

    #[test]
    fn a_refusal_names_the_scope_and_the_key() {
        let access = Access::new(vec![key("web", &[Scope::Send, Scope::Read], &["*"])]);
        let caller = access.find(b"web").expect("a key");
        assert!(caller.check_scope(Scope::Send).is_ok());
        let error = caller.check_scope(Scope::Operate).expect_err("refused");
        assert_eq!(error.status.as_u16(), 403);
        let message = "this call needs the scope `operate`; the key `web` (id) has `send`, `read`";
        assert_eq!(error.message, message);
    }

    #[tokio::test]
    async fn only_a_removed_or_changed_key_ends_its_streams() {
        let (a, b) = (key("a", &[Scope::Read], &["*"]), key("b", &[Scope::Read], &["*"]));
        let access = Access::new(vec![a.clone(), b.clone()]);
        let mut first = access.find(b"a").expect("a key");
        let mut second = access.find(b"b").expect("a key");
        let narrower = key("b", &[Scope::Read], &["room:*"]);
        access.replace(vec![a.clone(), narrower]);
        second.removed().await;
        assert!(first.removed.has_changed().is_ok(), "it is as it was");
        access.replace(vec![b]);
        first.removed().await;
        assert!(access.find(b"a").is_none());
    }
}
