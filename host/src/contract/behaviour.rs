//! The one trait between the channel logic of the host and the code that runs callbacks.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Call, Decision, Fault, HttpJournal, Outcome, Passing, TopicCall, Upgrade};
use crate::entries::EntryInput;

/// The future of a running call.
pub type CallFuture<'a, T> = BoxFuture<'a, Result<T, Fault>>;

/// What a call may use beside its arguments.
#[derive(Clone, Copy, Debug)]
pub struct CallInput<'a> {
    /// The entries of the topic, if the plugin uses entries and the topic has them.
    pub entries: Option<&'a EntryInput>,
    /// The answers by HTTP that earlier runs of the same call have got, if the plugin may ask for some.
    pub http: Option<&'a Arc<HttpJournal>>,
}

/// The code that runs callbacks: a wasm plugin, or a scripted behaviour in tests.
///
/// The host polls a call until it ends, or drops the future. A dropped call leaves nothing behind. The host may make
/// the same call more than once, so a call has no effect of its own: only the host carries its outcome out.
pub trait Behaviour: Send + Sync {
    /// Runs one callback of a member. If the callback reads entries of another version, it runs again after they are upgraded.
    fn call<'a>(&'a self, call: &'a Call, input: CallInput<'a>) -> CallFuture<'a, Outcome>;

    /// Runs one callback of a topic, without a member.
    fn call_topic<'a>(&'a self, call: &'a TopicCall, input: CallInput<'a>) -> CallFuture<'a, Outcome>;

    /// Returns a decision about an intercepted event for each recipient, in the recipients' order. The call may only
    /// read.
    fn filter<'a>(&'a self, passing: &'a Passing) -> CallFuture<'a, Vec<Decision>>;

    /// Upgrades a state that another version wrote, and returns the new state. Returns `None` if the plugin has no
    /// `upgrade`; the host then passes the old bytes on unchanged. The call may only read.
    fn upgrade<'a>(&'a self, upgrade: &'a Upgrade) -> CallFuture<'a, Option<Bytes>>;

    /// Returns how many calls have ended, faults included, if they are counted.
    fn calls(&self) -> Option<u64> {
        None
    }
}
