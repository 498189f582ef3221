//! Frames to a member's own client.

use std::num::NonZeroU64;

use super::channel::Channel;
use crate::contract::Reply;
use crate::protocol::{Frame, Outbound, Payload, Ref, To, event};
use crate::pubsub::{Audience, Position, binary_number_frame, position_payload};

/// The way of a member's own frames: in the order of the topic's frames if it has an audience, or directly to the outbox.
#[derive(Clone, Copy)]
pub(in crate::channel::member) struct Frames<'a> {
    channel: &'a Channel,
    audience: Option<&'a Audience>,
}

impl<'a> Frames<'a> {
    pub(in crate::channel::member) fn new(channel: &'a Channel, audience: Option<&'a Audience>) -> Self {
        Self { channel, audience }
    }

    pub(in crate::channel::member) fn push(self, event: &str, payload: &Payload) {
        if let Some(frame) = self.encode_push(event, payload) {
            self.deliver(frame);
        }
    }

    /// Returns the frame of a push, for a caller that delivers it.
    pub(in crate::channel::member) fn encode_push(self, event: &str, payload: &Payload) -> Option<Frame> {
        let (join_ref, topic) = (self.channel.mark(), self.channel.topic());
        encode(self.channel, Outbound::Push { join_ref, topic, event, payload })
    }

    /// The same for an event with a number in its topic's history, if it has one.
    pub(in crate::channel::member) fn encode_numbered(
        self,
        number: Option<NonZeroU64>,
        event: &str,
        payload: &Payload,
    ) -> Option<Frame> {
        let Some(number) = number else { return self.encode_push(event, payload) };
        let (join_ref, topic) = (self.channel.mark(), self.channel.topic());
        encode(self.channel, Outbound::Numbered { join_ref, number, topic, event, payload })
    }

    /// The message that goes before the frame of a numbered event with bytes, and has the event's number.
    pub(in crate::channel::member) fn number_before(
        self,
        number: Option<NonZeroU64>,
        payload: &Payload,
    ) -> Option<Frame> {
        let number = number.filter(|_| matches!(payload, Payload::Binary(_)))?;
        binary_number_frame(&self.channel.member.topic, number)
    }

    /// The message that tells a client its position in the topic's history.
    pub(in crate::channel::member) fn encode_position(
        self,
        position: Position,
        recovered: Option<bool>,
    ) -> Option<Frame> {
        self.encode_push(event::HISTORY, &position_payload(position, recovered))
    }

    pub(in crate::channel::member) fn reply(self, reference: &Ref, reply: &Reply) {
        self.answer(self.channel.mark(), reference, &reply.status, &reply.payload);
    }

    /// A reply with the join ref of the message that it answers.
    pub(in crate::channel::member) fn answer(self, join_ref: &Ref, reference: &Ref, status: &str, payload: &Payload) {
        let to = To::Topic(self.channel.topic());
        self.send(Outbound::Reply { join_ref, reference, to, status, payload });
    }

    pub(in crate::channel::member) fn close(self, join_ref: &Ref) {
        self.send(Outbound::Close { join_ref, topic: self.channel.topic() });
    }

    pub(in crate::channel::member) fn error(self) {
        self.send(Outbound::Error { join_ref: self.channel.mark(), topic: self.channel.topic() });
    }

    fn send(self, message: Outbound<'_>) {
        if let Some(frame) = encode(self.channel, message) {
            self.deliver(frame);
        }
    }

    /// Delivers a frame. Every frame of a member goes through here, except those that its topic's audience delivers.
    pub(in crate::channel::member) fn deliver(self, frame: Frame) {
        let outbox = &self.channel.connection.outbox;
        match self.audience {
            Some(audience) => audience.send(outbox, frame),
            None => outbox.push(frame),
        }
    }
}

/// Encodes a frame for a member's client. A message that its serializer can't carry (bytes to a client of version 1) is
/// left out.
pub(in crate::channel::member) fn encode(channel: &Channel, message: Outbound<'_>) -> Option<Frame> {
    let frame = channel.connection.encode(message);
    if frame.is_none() {
        tracing::debug!(topic = channel.topic(), "a message was dropped: this client's serializer can't carry it");
    }
    frame
}
