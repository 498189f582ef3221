//! The answer to a topic message that a member has sent. Its `handle_info` gets it.

use std::sync::{Arc, Weak};

use bytestring::ByteString;

use super::channel::Channel;
use super::event::MemberEvent;
use crate::channel::room::{Delivered, Sender};
use crate::contract::{Message, Reply, SocketFacts, Source};
use crate::protocol::{Payload, Topic};

impl Sender for Weak<Channel> {
    fn answer(self, topic: &Topic, event: ByteString, delivered: Delivered) {
        if let (Some(channel), Ok(Some(reply))) = (self.upgrade(), delivered) {
            let (topic, payload) = (topic.clone(), as_message(reply));
            channel.post(MemberEvent::Info(Message { source: Source::Answer, topic, event, payload }));
        }
    }

    fn socket(&self) -> Option<Arc<SocketFacts>> {
        self.upgrade().map(|channel| Arc::clone(&channel.member.socket))
    }

    fn is_waiting(&self) -> bool {
        self.strong_count() > 0
    }
}

/// A reply as `handle_info` gets it: bytes as they are, JSON with its status.
fn as_message(reply: Reply) -> Payload {
    match reply.payload {
        Payload::Json(response) => {
            let status = serde_json::Value::from(&*reply.status);
            Payload::Json(format!("{{\"status\":{status},\"response\":{response}}}").into())
        }
        bytes @ Payload::Binary(_) => bytes,
    }
}
