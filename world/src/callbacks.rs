//! The interface between a world and the code that runs callbacks.

use bennu_semantics::{Answer, Callback, Decision, EntryUpgrade, Fault, Passing, RouteSpec, Topic, TopicCall, Upgrade};
use bytes::Bytes;

use crate::CallContext;

/// A call of a member's callback.
#[derive(Clone, Debug)]
pub struct MemberCall {
    /// The member's number.
    pub id: u64,
    /// The topic that it joined.
    pub topic: Topic,
    /// The member's state as last committed; empty before its join.
    pub assigns: Bytes,
    /// The topic's shared state, if a callback has written it.
    pub room: Option<Bytes>,
    /// The callback.
    pub callback: Callback,
}

/// The result of a callback.
#[derive(Clone, Debug)]
pub struct CallOutcome {
    /// The member's new state, if it changed.
    pub assigns: Option<Bytes>,
    /// The topic's new shared state, if it changed.
    pub room: Option<Bytes>,
    /// The answer to the client, or to the sender of a topic message.
    pub answer: Answer,
}

impl CallOutcome {
    /// The result of a callback without an answer.
    #[must_use]
    pub fn of_room(room: Option<Bytes>) -> Self {
        Self { assigns: None, room, answer: Answer::None }
    }
}

/// A plugin, as a world calls it: native code, or another process.
///
/// A callback uses the host through its [`CallContext`]. If a method of it returns a [`Fault`], the callback has to end
/// with that fault.
pub trait Callbacks {
    /// The routes that it serves, in any order.
    fn routes(&self) -> &[RouteSpec];

    /// Runs a callback of a member.
    ///
    /// # Errors
    /// If the callback failed.
    fn call(&mut self, call: MemberCall, context: &mut CallContext) -> Result<CallOutcome, Fault>;

    /// Runs a callback of a topic.
    ///
    /// # Errors
    /// If the callback failed.
    fn call_topic(&mut self, call: TopicCall, context: &mut CallContext) -> Result<CallOutcome, Fault>;

    /// Decides about an intercepted event, for each recipient in their order. It only reads.
    ///
    /// # Errors
    /// If the callback failed.
    fn filter(&mut self, passing: Passing, context: &mut CallContext) -> Result<Vec<Decision>, Fault>;

    /// Upgrades a state that another version wrote. `None` leaves its bytes unchanged. It only reads.
    ///
    /// # Errors
    /// If the callback failed, or refused the upgrade.
    fn upgrade(&mut self, upgrade: Upgrade, context: &mut CallContext) -> Result<Option<Bytes>, Fault>;

    /// Upgrades an entry that another version wrote. `None` leaves its value unchanged. It only reads its arguments.
    ///
    /// # Errors
    /// If the callback failed, or refused the upgrade.
    fn upgrade_entry(&mut self, upgrade: EntryUpgrade, context: &mut CallContext) -> Result<Option<Vec<u8>>, Fault>;
}
