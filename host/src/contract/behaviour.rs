//! The one trait between what a channel means and what runs it.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Call, Decision, Fault, Outcome, Passing, TopicCall, Upgrade};

/// A call under way.
pub type CallFuture<'a, T> = BoxFuture<'a, Result<T, Fault>>;

/// What runs callbacks: a wasm plugin, or a scripted one in tests.
///
/// A call that was started is driven to its end; one that is dropped may leave nothing behind but its cost. The same call may be
/// made more than once: nothing comes of one but what is made of its outcome.
pub trait Behaviour: Send + Sync {
    /// Runs one callback.
    fn call<'a>(&'a self, call: &'a Call) -> CallFuture<'a, Outcome>;

    /// Runs one callback of a topic, without a member.
    fn call_topic<'a>(&'a self, call: &'a TopicCall) -> CallFuture<'a, Outcome>;

    /// Decides about an intercepted event, for each recipient in their order. Reads only.
    fn filter<'a>(&'a self, passing: &'a Passing) -> CallFuture<'a, Vec<Decision>>;

    /// Takes over a state that another version wrote; none where it can't, and takes them as they are. Reads only.
    fn upgrade<'a>(&'a self, upgrade: &'a Upgrade) -> CallFuture<'a, Option<Bytes>>;
}
