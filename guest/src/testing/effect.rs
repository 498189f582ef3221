//! One act that a callback asks for.

use std::time::Duration;

use super::Sent;
use crate::{Reply, ReplyRef, TimerId, Value};

/// An effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// An event to the member's own client.
    Push(Sent),
    /// An event to all members of the topic.
    Broadcast(Sent),
    /// An event to all members of the topic but this one.
    BroadcastFrom(Sent),
    /// An event to all members of another topic.
    Publish(String, Sent),
    /// An answer to an earlier message.
    Reply(ReplyRef, Reply),
    /// A message to the member's own `handle_info`.
    SendSelf(Sent),
    /// The same, later.
    SendAfter(TimerId, Duration, Sent),
    /// A timer taken back.
    Cancel(TimerId),
    /// The topic's beat from now on; nothing ends it.
    Tick(Duration),
    /// The topic's published state from now on.
    PublishState(Value),
    /// A seat for the member, and for how long it is kept when it drops.
    TakeSeat(String, Duration),
    /// The member's seat given up.
    LeaveSeat,
    /// An event to another topic's `handle_message`.
    Send(String, Sent),
    /// A further topic whose events the member hears.
    Subscribe(String),
    /// The end of that.
    Unsubscribe(String),
    /// The end of every socket with this id.
    Disconnect(String),
    /// The member is online under a key, with a meta.
    Track(String, Value),
    /// Another meta for a key.
    UpdatePresence(String, Value),
    /// The member is online under a key no more.
    Untrack(String),
    /// Everybody who is online, to the member's own client.
    PushPresence,
}
