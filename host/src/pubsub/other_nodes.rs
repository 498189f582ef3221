//! What a host tells the other nodes of its cluster about topics.

use super::{Broadcast, MemberInfo};
use crate::protocol::{Payload, Topic};

/// The other nodes of a cluster. A host without a cluster has none.
///
/// No function waits: each one leaves a message for the other nodes, or counts that it couldn't. Some are called under the
/// lock of an audience, so none may call a [`PubSub`](super::PubSub).
pub trait OtherNodes: Send + Sync {
    /// Delivers a broadcast to the members and observers at the other nodes.
    fn broadcast(&self, broadcast: &Broadcast);

    /// Closes the sockets with this id at the other nodes.
    fn disconnect(&self, id: &str);

    /// Sends an event to the `handle_info` of a member at another node. `from` is the topic of the sender.
    fn send_member(&self, from: &Topic, member: (&Topic, u64), event: &str, payload: &Payload);

    /// Pushes an event to the clients of a topic's members at the other nodes whose sockets have this id.
    fn push_to_socket(&self, topic: &Topic, socket_id: &str, event: &str, payload: &Payload);

    /// A member of a topic has joined or ended here. `describe` returns what programs outside see of it.
    fn member(&self, topic: &Topic, has_joined: bool, describe: &dyn Fn() -> Option<MemberInfo>);
}
