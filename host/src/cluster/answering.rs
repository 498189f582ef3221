//! Answers to the questions of other nodes.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::messages::{NodeAnswer, NodeQuestion, ToMembers};
use crate::channel::Node;

/// Returns what `GET /api/inspect` says at this node, as JSON.
pub type Inspect = Arc<dyn Fn() -> BoxFuture<'static, Bytes> + Send + Sync>;

/// Answers a question for the members and sockets at this node.
pub(super) async fn answer(node: &Arc<Node>, inspect: Option<&Inspect>, question: NodeQuestion) -> NodeAnswer {
    match question {
        NodeQuestion::Disconnect(id) => count(node.pubsub.disconnect_here(&id)),
        NodeQuestion::Members(topic, most) => {
            let members = node.pubsub.audience(topic.as_str()).map_or(0, |audience| audience.len());
            NodeAnswer::Members(members as u64, node.people(topic.as_str(), most as usize))
        }
        NodeQuestion::SendMembers(ToMembers { topic, selector, event, payload }) => {
            let sent = node.send_members(topic.as_str(), &selector, &event, &payload.detached());
            sent.map_or(NodeAnswer::Busy, count)
        }
        NodeQuestion::PushMembers(ToMembers { topic, selector, event, payload }) => {
            node.pubsub.pressure.hold_back().await;
            node.push_members(topic.as_str(), &selector, &event, &payload).map_or(NodeAnswer::Busy, count)
        }
        NodeQuestion::Kick { topic, selector, reason } => {
            count(node.kick(topic.as_ref().map(|topic| topic.as_str()), &selector, &reason).await)
        }
        NodeQuestion::Inspect => match inspect {
            Some(inspect) => NodeAnswer::Json(inspect().await),
            None => NodeAnswer::Refused,
        },
    }
}

fn count(of: usize) -> NodeAnswer {
    NodeAnswer::Count(of as u64)
}
