//! Tests of the messages between nodes as bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::codec::{CodecError, VERSION, decode, encode};
use super::messages::{
    BroadcastMessage, COUNTS_MAX, LeftOut, MessageBody, NodeAnswer, NodeMessage, NodeQuestion, ToMembers, WATCHED_MAX,
};
use crate::channel::MemberSelector;
use crate::contract::Person;
use crate::presence::{Delta, Replica, ShareEnd, State};
use crate::protocol::{NAME_BYTES_MAX, Pattern, Payload, Topic};
use crate::pubsub::{Broadcast, Droppable, Except, MemberInfo};

fn delta() -> Delta {
    let mut state = State::new(Replica::new("a", 3, 7));
    state.join(&Topic::new("room:a"), 1, "ann", "{\"n\":1}").expect("not tracked").delta
}

fn payload() -> Payload {
    Payload::Json("{\"a\":1}".into())
}

fn broadcast(except: LeftOut, payload: Payload) -> MessageBody {
    let (topic, event) = (Topic::new("room:a"), "e".into());
    MessageBody::Broadcast(BroadcastMessage { topic, event, payload, except, droppable: Some("key".into()) })
}

fn to_members(selector: MemberSelector) -> ToMembers {
    ToMembers { topic: Topic::new("room:a"), selector, event: "e".into(), payload: payload() }
}

fn questions() -> Vec<NodeQuestion> {
    let (member, socket) = (MemberSelector::Member(7), MemberSelector::Socket("user:1".into()));
    let user = MemberSelector::User("ann".into());
    let kick = |topic, selector: &MemberSelector| {
        let (selector, reason) = (selector.clone(), "why".into());
        NodeQuestion::Kick { topic, selector, reason }
    };
    vec![
        NodeQuestion::Disconnect("user:1".into()),
        NodeQuestion::Members(Topic::new("room:a"), 10),
        NodeQuestion::SendMembers(to_members(member)),
        NodeQuestion::PushMembers(to_members(socket.clone())),
        NodeQuestion::PushMembers(to_members(user.clone())),
        kick(None, &socket),
        kick(Some(Topic::new("room:a")), &socket),
        kick(None, &user),
        NodeQuestion::Inspect,
    ]
}

fn answers() -> Vec<NodeAnswer> {
    let person = |member, user: Option<&str>| Person { member, user: user.map(Into::into), socket_id: None };
    vec![
        NodeAnswer::Count(3),
        NodeAnswer::Busy,
        NodeAnswer::Members(9, vec![person(1, Some("ann")), person(2, None)]),
        NodeAnswer::Json(Bytes::from_static(b"{}")),
        NodeAnswer::Refused,
    ]
}

/// One message of each kind, and more of those with several forms.
fn bodies() -> Vec<MessageBody> {
    let (topic, event) = (Topic::new("room:a"), "e".into());
    let info = MemberInfo { member: 5, user: None, socket_id: Some("user:1".into()) };
    let mut bodies = vec![
        broadcast(LeftOut::Nobody, payload()),
        broadcast(LeftOut::Member(1 << 52), Payload::Binary(Bytes::from_static(b"\0\xff"))),
        broadcast(LeftOut::Socket("user:1".into()), payload()),
        MessageBody::Disconnect("user:1".into()),
        MessageBody::Member { from: Topic::new("hall"), topic: topic.clone(), member: 4, event, payload: payload() },
        MessageBody::Socket { topic: topic.clone(), socket_id: "user:1".into(), event: "e".into(), payload: payload() },
        MessageBody::Presence(delta()),
        MessageBody::PresenceEnd(3, ShareEnd { through: 9, kept: vec![2, 9] }),
        MessageBody::Clocks(Box::new(std::array::from_fn(|at| at as u64))),
        MessageBody::PresenceWanted(0b101),
        MessageBody::Counts { is_first: true, counts: vec![(topic.clone(), 3), (Topic::new("hall"), 0)] },
        MessageBody::CountsWanted,
        MessageBody::RegistryChanged,
        MessageBody::Watched(["room:*", "hall"].map(|text| Pattern::parse(text).expect("a pattern")).to_vec()),
        MessageBody::MemberEvent { topic, info, has_joined: true },
        MessageBody::Dropped(None),
        MessageBody::Dropped(Some(vec![1, u64::MAX])),
    ];
    bodies.extend(questions().into_iter().map(|question| MessageBody::Question(8, question)));
    bodies.extend(answers().into_iter().map(|answer| MessageBody::Answer(8, answer)));
    bodies
}

fn bytes_of(body: MessageBody) -> Bytes {
    encode(&NodeMessage { id_time: 77, body })
}

#[test]
fn each_message_is_read_as_it_was_written_and_no_part_of_it_is_a_message() {
    for body in bodies() {
        let bytes = bytes_of(body.clone());
        for end in 0..bytes.len() {
            assert_eq!(decode(bytes.slice(..end)), Err(CodecError::Malformed), "{end} bytes of {body:?}");
        }
        let longer: Bytes = [&bytes[..], &[0]].concat().into();
        assert_eq!(decode(longer), Err(CodecError::Malformed), "{body:?}");
        assert_eq!(decode(bytes), Ok(NodeMessage { id_time: 77, body }));
    }
}

#[test]
fn other_versions_and_unknown_kinds_are_told_apart() {
    let mut bytes = bytes_of(MessageBody::CountsWanted).to_vec();
    bytes[9] = 200;
    assert_eq!(decode(bytes.clone().into()), Err(CodecError::Kind(200)));
    bytes[0] = VERSION + 1;
    assert_eq!(decode(bytes.into()), Err(CodecError::Version(VERSION + 1)));
    let mut bytes = bytes_of(MessageBody::Question(8, NodeQuestion::Inspect)).to_vec();
    *bytes.last_mut().expect("a byte") = 99;
    assert_eq!(decode(bytes.into()), Err(CodecError::Kind(99)));
}

#[test]
fn what_no_host_writes_is_malformed() {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let text = |text: &'static str| Payload::Json(text.into());
    let pattern = Pattern::parse("room:*").expect("a pattern");
    let cases = [
        broadcast(LeftOut::Nobody, text("[1]")),
        broadcast(LeftOut::Nobody, text("{\"a\":")),
        MessageBody::Member {
            from: Topic::new("hall"),
            topic: Topic::new("room:a"),
            member: 4,
            event: "e".into(),
            payload: text("{} {}"),
        },
        MessageBody::Question(
            1,
            NodeQuestion::PushMembers(ToMembers { payload: text("1"), ..to_members(MemberSelector::Member(1)) }),
        ),
        MessageBody::Counts { is_first: false, counts: vec![(Topic::new(&long), 1)] },
        MessageBody::Counts { is_first: false, counts: vec![(Topic::new("t"), 1); COUNTS_MAX + 1] },
        MessageBody::Watched(vec![pattern; WATCHED_MAX + 1]),
        MessageBody::PresenceEnd(16, ShareEnd { through: 1, kept: Vec::new() }),
        MessageBody::PresenceEnd(0, ShareEnd { through: 1, kept: vec![2] }),
        MessageBody::PresenceEnd(0, ShareEnd { through: u64::MAX, kept: Vec::new() }),
        MessageBody::Clocks(Box::new([u64::MAX; 16])),
    ];
    for body in cases {
        assert_eq!(decode(bytes_of(body.clone())), Err(CodecError::Malformed), "{body:?}");
    }
}

#[test]
fn a_broadcast_travels_with_what_other_nodes_need_of_it() {
    let topic = Topic::new("room:a");
    let members = Arc::new([3, 4].into());
    let made = Broadcast {
        topic: topic.clone(),
        event: "e".into(),
        payload: payload(),
        except: Except::Socket { id: "user:1".into(), members },
        droppable: Some(Droppable::of(&topic, "e", "ann")),
        number: std::num::NonZeroU64::new(9),
    };
    let expected = BroadcastMessage {
        topic,
        event: "e".into(),
        payload: payload(),
        except: LeftOut::Socket("user:1".into()),
        droppable: Some("ann".into()),
    };
    assert_eq!(BroadcastMessage::of(&made), expected);
}

/// The corpus of the fuzz target has these messages.
#[test]
fn the_corpus_has_a_message_of_each_kind() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/node_message");
    let read = |path: std::path::PathBuf| decode(std::fs::read(path).expect("a file of the corpus").into());
    let files = std::fs::read_dir(folder).expect("the corpus").map(|file| read(file.expect("a file").path()));
    let found: Vec<_> = files.filter_map(Result::ok).map(|message| std::mem::discriminant(&message.body)).collect();
    for body in bodies() {
        assert!(found.contains(&std::mem::discriminant(&body)), "{body:?}");
    }
}
