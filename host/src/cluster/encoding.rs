//! Writes the bodies of messages between hosts.

use super::kind;
use super::messages::{BroadcastMessage, LeftOut, MessageBody, NodeAnswer, NodeQuestion, ToMembers};
use crate::channel::MemberSelector;
use crate::contract::Person;
use crate::parcel::Writer;
use crate::presence::{Delta, ShareEnd};
use crate::protocol::{Payload, Topic};
use crate::pubsub::MemberInfo;

pub(super) fn write_body(writer: &mut Writer, body: &MessageBody) {
    match body {
        MessageBody::Broadcast(broadcast) => {
            writer.u8(kind::BROADCAST);
            write_broadcast(writer, broadcast);
        }
        MessageBody::Disconnect(id) => {
            writer.u8(kind::DISCONNECT);
            writer.text(id);
        }
        MessageBody::Member { from, topic, member, event, payload } => {
            writer.u8(kind::MEMBER);
            writer.text(from.as_str());
            writer.text(topic.as_str());
            writer.u64(*member);
            write_event(writer, event, payload);
        }
        MessageBody::Socket { topic, socket_id, event, payload } => {
            writer.u8(kind::SOCKET);
            writer.text(topic.as_str());
            writer.text(socket_id);
            write_event(writer, event, payload);
        }
        MessageBody::Presence(delta) => {
            writer.u8(kind::PRESENCE);
            write_delta(writer, delta);
        }
        MessageBody::PresenceEnd(shard, ShareEnd { through, kept }) => {
            writer.u8(kind::PRESENCE_END);
            writer.u32(u32::from(*shard));
            writer.u64(*through);
            writer.list(kept, |writer, clock| writer.u64(*clock));
        }
        MessageBody::Clocks(clocks) => {
            writer.u8(kind::CLOCKS);
            clocks.iter().for_each(|clock| writer.u64(*clock));
        }
        MessageBody::PresenceWanted(shards) => {
            writer.u8(kind::PRESENCE_WANTED);
            writer.u32(u32::from(*shards));
        }
        MessageBody::Counts { is_first, counts } => {
            writer.u8(kind::COUNTS);
            writer.flag(*is_first);
            writer.list(counts, |writer, (topic, members)| {
                writer.text(topic.as_str());
                writer.u32(*members);
            });
        }
        MessageBody::CountsWanted => writer.u8(kind::COUNTS_WANTED),
        MessageBody::Watched(patterns) => {
            writer.u8(kind::WATCHED);
            writer.list(patterns, |writer, pattern| writer.text(&pattern.to_string()));
        }
        MessageBody::MemberEvent { topic, info, has_joined } => {
            writer.u8(kind::MEMBER_EVENT);
            writer.text(topic.as_str());
            let MemberInfo { member, user, socket_id } = info;
            write_person(writer, *member, user.as_deref(), socket_id.as_deref());
            writer.flag(*has_joined);
        }
        MessageBody::Dropped(topics) => {
            writer.u8(kind::DROPPED);
            writer.option(topics.as_ref(), |writer, topics| writer.list(topics, |writer, hash| writer.u64(*hash)));
        }
        MessageBody::RegistryChanged => writer.u8(kind::REGISTRY_CHANGED),
        MessageBody::Question(number, question) => {
            writer.u8(kind::QUESTION);
            writer.u64(*number);
            write_question(writer, question);
        }
        MessageBody::Answer(number, answer) => {
            writer.u8(kind::ANSWER);
            writer.u64(*number);
            write_answer(writer, answer);
        }
    }
}

fn write_broadcast(writer: &mut Writer, broadcast: &BroadcastMessage) {
    let BroadcastMessage { topic, event, payload, except, droppable } = broadcast;
    writer.text(topic.as_str());
    write_event(writer, event, payload);
    match except {
        LeftOut::Nobody => writer.u8(0),
        LeftOut::Member(member) => {
            writer.u8(1);
            writer.u64(*member);
        }
        LeftOut::Socket(id) => {
            writer.u8(2);
            writer.text(id);
        }
    }
    writer.option(droppable.as_ref(), |writer, name| writer.text(name));
}

fn write_event(writer: &mut Writer, event: &str, payload: &Payload) {
    writer.text(event);
    match payload {
        Payload::Json(text) => {
            writer.u8(0);
            writer.text(text);
        }
        Payload::Binary(bytes) => {
            writer.u8(1);
            writer.bytes(bytes);
        }
    }
}

fn write_delta(writer: &mut Writer, delta: &Delta) {
    // A record of numbers and texts, so it can be written.
    writer.bytes(&serde_json::to_vec(delta).unwrap_or_default());
}

fn write_question(writer: &mut Writer, question: &NodeQuestion) {
    match question {
        NodeQuestion::Disconnect(id) => {
            writer.u8(kind::ASK_DISCONNECT);
            writer.text(id);
        }
        NodeQuestion::Members(topic, most) => {
            writer.u8(kind::ASK_MEMBERS);
            writer.text(topic.as_str());
            writer.u32(*most);
        }
        NodeQuestion::SendMembers(to) => {
            writer.u8(kind::ASK_SEND);
            write_to_members(writer, to);
        }
        NodeQuestion::PushMembers(to) => {
            writer.u8(kind::ASK_PUSH);
            write_to_members(writer, to);
        }
        NodeQuestion::Kick { topic, selector, reason } => {
            writer.u8(kind::ASK_KICK);
            writer.option(topic.as_ref().map(Topic::as_str), Writer::text);
            write_selector(writer, selector);
            writer.text(reason);
        }
        NodeQuestion::Inspect => writer.u8(kind::ASK_INSPECT),
    }
}

fn write_to_members(writer: &mut Writer, to: &ToMembers) {
    let ToMembers { topic, selector, event, payload } = to;
    writer.text(topic.as_str());
    write_selector(writer, selector);
    write_event(writer, event, payload);
}

fn write_selector(writer: &mut Writer, selector: &MemberSelector) {
    match selector {
        MemberSelector::Member(member) => {
            writer.u8(0);
            writer.u64(*member);
        }
        MemberSelector::Socket(id) => {
            writer.u8(1);
            writer.text(id);
        }
        // A host that doesn't know it can't read the question. It gives no answer, and counts as one that hasn't answered.
        MemberSelector::User(user) => {
            writer.u8(2);
            writer.text(user);
        }
    }
}

fn write_answer(writer: &mut Writer, answer: &NodeAnswer) {
    match answer {
        NodeAnswer::Count(count) => {
            writer.u8(kind::COUNT);
            writer.u64(*count);
        }
        NodeAnswer::Busy => writer.u8(kind::BUSY),
        NodeAnswer::Members(count, people) => {
            writer.u8(kind::MEMBERS);
            writer.u64(*count);
            writer.list(people, |writer, Person { member, user, socket_id }| {
                write_person(writer, *member, user.as_deref(), socket_id.as_deref());
            });
        }
        NodeAnswer::Json(text) => {
            writer.u8(kind::JSON);
            writer.bytes(text);
        }
        NodeAnswer::Refused => writer.u8(kind::REFUSED),
    }
}

fn write_person(writer: &mut Writer, member: u64, user: Option<&str>, socket_id: Option<&str>) {
    writer.u64(member);
    writer.option(user, Writer::text);
    writer.option(socket_id, Writer::text);
}
