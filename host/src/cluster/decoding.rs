//! Reads the bodies of messages between hosts.

use bytestring::ByteString;

use super::codec::CodecError;
use super::kind;
use super::messages::{
    BroadcastMessage, COUNTS_MAX, DROPPED_MAX, LeftOut, MessageBody, NodeAnswer, NodeQuestion, ToMembers, WATCHED_MAX,
};
use crate::channel::MemberSelector;
use crate::contract::Person;
use crate::contract::limits::LISTED_MAX;
use crate::parcel::{Malformed, Reader};
use crate::presence::{Delta, Presence, ShareEnd};
use crate::protocol::{NAME_BYTES_MAX, Pattern, Payload, Topic};
use crate::pubsub::MemberInfo;

/// What was read, or that it isn't what its kind promises.
type Read<T> = Result<T, Malformed>;

pub(super) fn read_body(reader: &mut Reader) -> Result<MessageBody, CodecError> {
    let kind = reader.u8()?;
    if kind == kind::QUESTION {
        return Ok(MessageBody::Question(reader.u64()?, read_question(reader)?));
    }
    let known = match kind {
        kind::BROADCAST => read_broadcast(reader).map(MessageBody::Broadcast),
        kind::DISCONNECT => name(reader).map(MessageBody::Disconnect),
        kind::MEMBER => read_member(reader),
        kind::SOCKET => read_socket(reader),
        kind::PRESENCE => read_delta(reader).map(MessageBody::Presence),
        kind::PRESENCE_END => read_presence_end(reader),
        kind::CLOCKS => read_clocks(reader),
        kind::PRESENCE_WANTED => shards(reader).map(MessageBody::PresenceWanted),
        kind::COUNTS => read_counts(reader),
        kind::COUNTS_WANTED => Ok(MessageBody::CountsWanted),
        kind::WATCHED => read_watched(reader),
        kind::MEMBER_EVENT => read_member_event(reader),
        kind::DROPPED => read_dropped(reader),
        kind::REGISTRY_CHANGED => Ok(MessageBody::RegistryChanged),
        kind::ANSWER => reader.u64().and_then(|number| Ok(MessageBody::Answer(number, read_answer(reader)?))),
        unknown => return Err(CodecError::Kind(unknown)),
    };
    Ok(known?)
}

/// The name of a topic, an event or a socket. It is copied, because it may be kept for longer than the message.
fn name(reader: &mut Reader) -> Read<ByteString> {
    let text = reader.text()?;
    if text.len() > NAME_BYTES_MAX { Err(Malformed) } else { Ok(text.to_string().into()) }
}

fn topic(reader: &mut Reader) -> Read<Topic> {
    let text = reader.text()?;
    if text.len() > NAME_BYTES_MAX { Err(Malformed) } else { Ok(Topic::new(&text)) }
}

fn boxed(reader: &mut Reader) -> Read<Box<str>> {
    // Users and ids come from tokens, which have limits of their own.
    Ok(reader.text()?.to_string().into())
}

fn list<T>(reader: &mut Reader, most: usize, read: impl FnMut(&mut Reader) -> Read<T>) -> Read<Vec<T>> {
    let found = reader.list(read)?;
    if found.len() > most { Err(Malformed) } else { Ok(found) }
}

/// An event, and a payload that clients can read.
fn event(reader: &mut Reader) -> Read<(ByteString, Payload)> {
    let event = name(reader)?;
    let payload = match reader.u8()? {
        0 => Payload::Json(reader.text()?),
        1 => Payload::Binary(reader.bytes()?),
        _ => return Err(Malformed),
    };
    payload.check_value().map_err(|_| Malformed)?;
    Ok((event, payload))
}

fn read_broadcast(reader: &mut Reader) -> Read<BroadcastMessage> {
    let topic = topic(reader)?;
    let (event, payload) = event(reader)?;
    payload.check_object().map_err(|_| Malformed)?;
    let except = match reader.u8()? {
        0 => LeftOut::Nobody,
        1 => LeftOut::Member(reader.u64()?),
        2 => LeftOut::Socket(boxed(reader)?.into_string().into()),
        _ => return Err(Malformed),
    };
    let droppable = reader.option(name)?;
    Ok(BroadcastMessage { topic, event, payload, except, droppable })
}

fn read_member(reader: &mut Reader) -> Read<MessageBody> {
    let (from, topic, member) = (topic(reader)?, topic(reader)?, reader.u64()?);
    let (event, payload) = event(reader)?;
    Ok(MessageBody::Member { from, topic, member, event, payload })
}

fn read_socket(reader: &mut Reader) -> Read<MessageBody> {
    let (topic, socket_id) = (topic(reader)?, boxed(reader)?.into_string().into());
    let (event, payload) = event(reader)?;
    payload.check_object().map_err(|_| Malformed)?;
    Ok(MessageBody::Socket { topic, socket_id, event, payload })
}

fn read_delta(reader: &mut Reader) -> Read<Delta> {
    serde_json::from_slice(&reader.bytes()?).map_err(|_| Malformed)
}

/// The number of a shard, or a bit for each.
fn shards(reader: &mut Reader) -> Read<u16> {
    u16::try_from(reader.u32()?).map_err(|_| Malformed)
}

fn read_presence_end(reader: &mut Reader) -> Read<MessageBody> {
    let (shard, through) = (shards(reader)?, reader.u64()?);
    let kept = reader.list(Reader::u64)?;
    let is_known = |clock: &u64| (1..=through).contains(clock);
    if shard >= Presence::SHARDS || through > Delta::CLOCK_MAX || !kept.iter().all(is_known) {
        return Err(Malformed);
    }
    Ok(MessageBody::PresenceEnd(shard, ShareEnd { through, kept }))
}

fn read_clocks(reader: &mut Reader) -> Read<MessageBody> {
    let mut clocks = Box::new([0; Presence::SHARDS as usize]);
    for clock in &mut *clocks {
        *clock = reader.u64()?;
        if *clock > Delta::CLOCK_MAX {
            return Err(Malformed);
        }
    }
    Ok(MessageBody::Clocks(clocks))
}

fn read_counts(reader: &mut Reader) -> Read<MessageBody> {
    let is_first = reader.flag()?;
    let counts = list(reader, COUNTS_MAX, |reader| Ok((topic(reader)?, reader.u32()?)))?;
    Ok(MessageBody::Counts { is_first, counts })
}

fn read_watched(reader: &mut Reader) -> Read<MessageBody> {
    let pattern = |reader: &mut Reader| Pattern::parse(&name(reader)?).map_err(|_| Malformed);
    Ok(MessageBody::Watched(list(reader, WATCHED_MAX, pattern)?))
}

fn read_member_event(reader: &mut Reader) -> Read<MessageBody> {
    let topic = topic(reader)?;
    let Person { member, user, socket_id } = read_person(reader)?;
    Ok(MessageBody::MemberEvent { topic, info: MemberInfo { member, user, socket_id }, has_joined: reader.flag()? })
}

fn read_dropped(reader: &mut Reader) -> Read<MessageBody> {
    Ok(MessageBody::Dropped(reader.option(|reader| list(reader, DROPPED_MAX, Reader::u64))?))
}

fn read_person(reader: &mut Reader) -> Read<Person> {
    Ok(Person { member: reader.u64()?, user: reader.option(boxed)?, socket_id: reader.option(boxed)? })
}

fn read_question(reader: &mut Reader) -> Result<NodeQuestion, CodecError> {
    let known = match reader.u8()? {
        kind::ASK_DISCONNECT => boxed(reader).map(|id| NodeQuestion::Disconnect(id.into_string().into())),
        kind::ASK_MEMBERS => topic(reader).and_then(|topic| Ok(NodeQuestion::Members(topic, reader.u32()?))),
        kind::ASK_SEND => read_to_members(reader).map(NodeQuestion::SendMembers),
        kind::ASK_PUSH => read_to_members(reader).and_then(|to| {
            to.payload.check_object().map_err(|_| Malformed)?;
            Ok(NodeQuestion::PushMembers(to))
        }),
        kind::ASK_KICK => read_kick(reader),
        kind::ASK_INSPECT => Ok(NodeQuestion::Inspect),
        unknown => return Err(CodecError::Kind(unknown)),
    };
    Ok(known?)
}

fn read_to_members(reader: &mut Reader) -> Read<ToMembers> {
    let (topic, selector) = (topic(reader)?, read_selector(reader)?);
    let (event, payload) = event(reader)?;
    Ok(ToMembers { topic, selector, event, payload })
}

fn read_kick(reader: &mut Reader) -> Read<NodeQuestion> {
    Ok(NodeQuestion::Kick { topic: reader.option(topic)?, selector: read_selector(reader)?, reason: name(reader)? })
}

fn read_selector(reader: &mut Reader) -> Read<MemberSelector> {
    match reader.u8()? {
        0 => reader.u64().map(MemberSelector::Member),
        1 => reader.text().map(|id| MemberSelector::Socket(id.to_string())),
        2 => reader.text().map(|user| MemberSelector::User(user.to_string())),
        _ => Err(Malformed),
    }
}

fn read_answer(reader: &mut Reader) -> Read<NodeAnswer> {
    match reader.u8()? {
        kind::COUNT => reader.u64().map(NodeAnswer::Count),
        kind::BUSY => Ok(NodeAnswer::Busy),
        kind::MEMBERS => {
            let count = reader.u64()?;
            Ok(NodeAnswer::Members(count, list(reader, LISTED_MAX as usize, read_person)?))
        }
        kind::JSON => reader.bytes().map(NodeAnswer::Json),
        kind::REFUSED => Ok(NodeAnswer::Refused),
        _ => Err(Malformed),
    }
}
