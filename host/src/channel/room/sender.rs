//! The sender of a topic message, and what becomes of the message.

use std::sync::Arc;

use bytestring::ByteString;

use super::idempotency::IdempotentRequest;
use crate::clients::OverLimit;
use crate::contract::{Fault, Reply, SocketFacts};
use crate::protocol::Topic;

/// Why a message wasn't handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// No route serves its topic.
    Unrouted,
    /// The plugin of this name, which serves its topic, has no `handle_message`.
    NotTaken(Arc<str>),
    /// The limit of messages that wait for the topic is reached.
    Busy,
    /// The plugin is set aside because of its faults.
    SetAside(OverLimit),
    /// `handle_message` failed.
    Fault(Fault),
    /// Its idempotency key was used for another request.
    KeyReused,
}

/// The result of a message: perhaps an answer.
pub type Delivered = Result<Option<Reply>, Undelivered>;

/// Who gets the answer.
pub(in crate::channel) trait Sender: Send + 'static {
    /// Delivers the answer to the message with this topic and event.
    fn answer(self, topic: &Topic, event: ByteString, delivered: Delivered);

    /// Whether it would get an answer that comes later than the callback.
    fn is_waiting(&self) -> bool;

    /// The socket of the member that has sent it.
    fn socket(&self) -> Option<Arc<SocketFacts>> {
        None
    }

    /// The request by which the message takes effect once, if it has an idempotency key.
    fn request(&self) -> Option<Arc<IdempotentRequest>> {
        None
    }
}

/// A topic's callback sent it: nobody gets the answer.
impl Sender for () {
    fn answer(self, _: &Topic, _: ByteString, _: Delivered) {}

    fn is_waiting(&self) -> bool {
        false
    }
}
