//! Every record, whole, damaged, and of another version.

use bennu_test_tiers::{Noise, rounds};
use bytes::Bytes;

use super::*;

fn records() -> Vec<Record> {
    let state = StateRecord { bytes: Bytes::from_static(b"\x00state\xff"), version: u32::MAX };
    let seats = vec![
        SeatRecord { name: "ada".into(), grace_ms: 5000, left_ms: None, members: vec![1, u64::MAX] },
        SeatRecord { name: "".into(), grace_ms: 0, left_ms: Some(1), members: vec![] },
    ];
    let room = RoomRecord {
        plugin: "game".into(),
        is_durable: true,
        state: Some(state.clone()),
        former: Some(Bytes::from_static(b"former")),
        given_up: Some(1),
        seats,
        tick: Some(TickRecord { period_ns: 50_000_000, number: 7 }),
        published: Some((3, "{}".into())),
    };
    let member = MemberRecord {
        id: 9,
        socket: 1,
        join_ref: "\"3\"".into(),
        plugin: "game".into(),
        assigns: state,
        seat: Some("ada".into()),
    };
    let socket = SocketRecord {
        number: 1,
        socket_id: Some("user:1".into()),
        user: None,
        claims: "{}".into(),
        is_longpoll: true,
        connect_params: "{\"a\":\"é\"}".into(),
        x_headers: vec![("x-a".into(), "b".into())],
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    };
    let entry = EntryRecord { key: Bytes::from_static(b"k"), version: 2, value: Bytes::new() };
    let broadcast = |payload| BroadcastRecord { ago_ms: 12, event: "news".into(), payload, except: vec![5] };
    vec![
        Record::ClientSecret([7; 32]),
        Record::Socket(socket),
        Record::Socket(SocketRecord::default()),
        Record::Topic(TopicRecord { topic: "room:1".into(), members: vec![member], room: Some(room) }),
        Record::Topic(TopicRecord::default()),
        Record::Entries(vec![entry]),
        Record::History(HistoryRecord { epoch: 1, last: 2, count: 3, age_ms: 4, clients: vec![(5, 6)] }),
        Record::Broadcasts(vec![
            broadcast(PayloadRecord::Json("[1]".into())),
            broadcast(PayloadRecord::Binary(Bytes::from_static(b"\xfe"))),
        ]),
        Record::End(7),
    ]
}

#[test]
fn a_record_is_read_as_it_was_written() -> Result<(), FrameError> {
    for record in records() {
        let frame = Frame::of(&record)?;
        assert_eq!(Frame::body_length(frame.head), Ok(frame.body.len()));
        assert_eq!(Frame::record(frame.head, frame.body)?, record);
    }
    Ok(())
}

#[test]
fn a_damaged_or_truncated_record_and_another_version_are_refused() -> Result<(), FrameError> {
    for record in records() {
        let Frame { head, body } = Frame::of(&record)?;
        for at in 0..body.len() {
            let mut damaged = body.to_vec();
            damaged[at] ^= 1;
            assert_eq!(Frame::record(head, damaged.into()), Err(FrameError::Damaged), "{record:?} at {at}");
        }
    }
    for record in records() {
        let body = encoded(&record, 1);
        for length in 1..body.len() {
            assert_eq!(framed(body[..length].to_vec()), Err(FrameError::Malformed), "{record:?} with {length}");
        }
        assert_eq!(framed([&body[..], &[0]].concat()), Err(FrameError::Malformed));
        assert_eq!(framed(encoded(&record, 2).to_vec()), Err(FrameError::Version(2)));
    }
    // The number of a list's values isn't believed.
    assert_eq!(framed(vec![1, 3, 255, 255, 255, 255]), Err(FrameError::Malformed));
    Ok(())
}

/// Whatever the bytes are, they are refused or read, without a panic, and what is read is written as the same bytes.
#[test]
fn random_bytes_are_refused_or_read() {
    let (mut noise, mut read) = (Noise::new(1), 0);
    let bodies: Vec<Vec<u8>> = records().iter().map(|record| encoded(record, VERSION).to_vec()).collect();
    for _ in 0..rounds("parcel::noise") {
        let mut body = bodies[noise.below(bodies.len())].clone();
        for _ in 0..=noise.below(3) {
            let at = noise.below(body.len());
            match noise.below(3) {
                0 => body[at] = u8::try_from(noise.below(256)).unwrap_or_default(),
                1 => body.truncate(at),
                _ => body.insert(at, u8::try_from(noise.below(4)).unwrap_or_default()),
            }
            if body.is_empty() {
                body.push(VERSION);
            }
        }
        if let Ok(record) = framed(body.clone()) {
            assert_eq!(encoded(&record, VERSION), body);
            read += 1;
        }
    }
    assert!(read > 0, "some of them should be records");
}

fn framed(body: Vec<u8>) -> Result<Record, FrameError> {
    let mut head = [0; FRAME_BYTES];
    head[4..].copy_from_slice(&crc32fast::hash(&body).to_be_bytes());
    Frame::record(head, body.into())
}

fn encoded(record: &Record, version: u8) -> Bytes {
    record.encode(version)
}
