//! The one trait between what a channel means and what runs it.

use std::pin::Pin;

use super::{Call, Decision, Fault, Outcome, Passing, TopicCall};

/// A call under way.
pub type Calling<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// What runs callbacks: a wasm plugin, or a scripted one in tests.
///
/// A call that was started is driven to its end; one that is dropped may leave nothing behind but its cost.
pub trait Behaviour: Send + Sync {
    /// Runs one callback.
    fn call(&self, call: Call) -> Calling<'_, Outcome>;

    /// Runs one callback of a topic, without a member.
    fn call_topic(&self, call: TopicCall) -> Calling<'_, Outcome>;

    /// Decides about an intercepted event, for each recipient in their order. Reads only.
    fn filter(&self, passing: Passing) -> Calling<'_, Vec<Decision>>;
}
