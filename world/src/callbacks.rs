//! What runs the callbacks of the members and topics of a world.

use bennu_semantics::{Answer, Callback, Decision, Fault, Passing, RouteSpec, Topic, TopicCall, Upgrade};
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
    /// The topic's shared state, if anybody has written it.
    pub room: Option<Bytes>,
    /// Which callback.
    pub callback: Callback,
}

/// What a callback gives.
#[derive(Clone, Debug)]
pub struct CallOutcome {
    /// The member's new state, if it changed.
    pub assigns: Option<Bytes>,
    /// The topic's new shared state, if it changed.
    pub room: Option<Bytes>,
    /// What the client, or the sender of a topic message, is told.
    pub answer: Answer,
}

impl CallOutcome {
    /// What a callback gives that answers nobody.
    #[must_use]
    pub fn of_room(room: Option<Bytes>) -> Self {
        Self { assigns: None, room, answer: Answer::None }
    }
}

/// A plugin, as a world calls it: native code, or another process.
///
/// A callback reads and asks through its [`CallContext`]. Where that gives a [`Fault`], the callback has to end with it.
pub trait Callbacks {
    /// The routes that it serves, in any order.
    fn routes(&self) -> &[RouteSpec];

    /// Runs a callback of a member.
    ///
    /// # Errors
    /// The callback failed.
    fn call(&mut self, call: MemberCall, context: &mut CallContext) -> Result<CallOutcome, Fault>;

    /// Runs a callback of a topic.
    ///
    /// # Errors
    /// The callback failed.
    fn call_topic(&mut self, call: TopicCall, context: &mut CallContext) -> Result<CallOutcome, Fault>;

    /// Decides about an intercepted event, for each recipient in their order. It only reads.
    ///
    /// # Errors
    /// The callback failed.
    fn filter(&mut self, passing: Passing, context: &mut CallContext) -> Result<Vec<Decision>, Fault>;

    /// Upgrades a state that another version wrote; none leaves its bytes as they are. It only reads.
    ///
    /// # Errors
    /// The callback failed, or refused.
    fn upgrade(&mut self, upgrade: Upgrade, context: &mut CallContext) -> Result<Option<Bytes>, Fault>;
}
