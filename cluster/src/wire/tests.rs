//! Flushes are read as they were written, and nothing else is read.

use bytes::Bytes;

use super::*;
use crate::bus::Lane;
use crate::cluster::Secret;

const SPEAKS: Speaks = Speaks { from: 1, to: 3 };

fn flush(content: Content) -> Flush {
    Flush { version: 2, from: NodeId { epoch: Epoch(7), incarnation: Incarnation([9; 16]) }, content }
}

fn messages(texts: &[&'static str]) -> Messages {
    let mut messages = MessagesBuilder::default();
    for text in texts {
        assert!(messages.push(&Bytes::from_static(text.as_bytes()), usize::MAX));
    }
    messages.build()
}

fn one_of_each() -> Vec<Flush> {
    let batches = vec![messages(&["a", "bc"]), Messages::default(), messages(&[""])];
    vec![
        flush(Content::Batch(Batch { lane: Lane::All, number: 1, messages: messages(&["hello", "", "you"]) })),
        flush(Content::Batch(Batch {
            lane: Lane::Node(Epoch(3)),
            number: u64::MAX - 1,
            messages: Messages::default(),
        })),
        flush(Content::Repeat(Repeat { lane: Lane::Node(Epoch(3)), first: 5, batches })),
        flush(Content::Heartbeat(Vec::new())),
        flush(Content::Heartbeat(vec![
            Head { lane: Lane::All, oldest: 1, next: 1 },
            Head { lane: Lane::Node(Epoch(u64::MAX)), oldest: 4, next: 90 },
        ])),
        flush(Content::Nack { whom: Epoch(3), lane: Lane::All, ranges: vec![1..2, 5..9] }),
        flush(Content::NodesChanged),
    ]
}

fn seals() -> [Seal; 2] {
    [Seal::new(None), Seal::new(Some(&Secret::new(*b"one secret")))]
}

#[test]
fn a_flush_is_read_as_it_was_written() {
    for seal in seals() {
        for flush in one_of_each() {
            let bytes = flush.encode(&seal);
            assert_eq!(Flush::decode(bytes, &seal, SPEAKS), Ok(flush));
        }
    }
}

#[test]
fn the_messages_of_a_batch_come_in_order() {
    let read: Vec<Bytes> = messages(&["one", "", "three"]).collect();
    assert_eq!(read, ["one", "", "three"]);
    assert_eq!(messages(&["one", "", "three"]).number(), 3);
}

#[test]
fn a_flush_that_ends_early_is_refused_and_never_read_as_another_kind() {
    for seal in seals() {
        for flush in one_of_each() {
            let bytes = flush.encode(&seal);
            for length in 0..bytes.len() {
                match Flush::decode(bytes.slice(..length), &seal, SPEAKS) {
                    // Without a trailer, parts of a content may be content: fewer messages, heads or ranges.
                    Ok(read) => assert_eq!((read.content.kind(), read.from), (flush.content.kind(), flush.from)),
                    Err(error) => assert!(
                        matches!(error, WireError::Short | WireError::Forged | WireError::Count),
                        "{length} bytes of {flush:?}: {error:?}"
                    ),
                }
            }
        }
    }
}

#[test]
fn only_the_secret_of_the_cluster_makes_a_trailer() {
    let [open, seal] = seals();
    let other = Seal::new(Some(&Secret::new(*b"another secret")));
    for flush in one_of_each() {
        let bytes = flush.encode(&seal);
        assert_eq!(Flush::decode(bytes.clone(), &other, SPEAKS), Err(WireError::Forged));
        assert_eq!(Flush::decode(flush.encode(&open), &seal, SPEAKS).err(), Some(WireError::Forged));
        for at in 2..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 0x10;
            assert_eq!(Flush::decode(changed.into(), &seal, SPEAKS), Err(WireError::Forged), "byte {at}");
        }
    }
    assert_eq!(Flush::decode(Bytes::from_static(&[0, 1, 1]), &seal, SPEAKS), Err(WireError::Short));
}

#[test]
fn a_version_that_is_not_understood_is_refused_whatever_follows() {
    for version in [0_u16, 4, u16::MAX] {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend_from_slice(b"who knows");
        assert_eq!(Flush::decode(bytes.into(), &seals()[1], SPEAKS), Err(WireError::Version(version)));
    }
}

/// Writes a header and a content by hand.
fn raw(kind: u8, content: &[u8]) -> Bytes {
    let mut bytes = vec![0, 1, kind];
    bytes.extend_from_slice(&[0; 24]);
    bytes.extend_from_slice(content);
    bytes.into()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

#[test]
fn what_can_not_be_is_refused_by_its_kind() {
    let lane = |rest: Vec<u8>| [vec![0], rest].concat();
    let nack = |ranges: &[u64]| [numbers(&[3]), lane(numbers(ranges))].concat();
    let cases: Vec<(Bytes, WireError)> = vec![
        (raw(0, b""), WireError::Kind(0)),
        (raw(6, b""), WireError::Kind(6)),
        (raw(1, &[2]), WireError::Lane(2)),
        (raw(1, &lane(numbers(&[0]))), WireError::Number),
        (raw(1, &lane(numbers(&[u64::MAX]))), WireError::Number),
        (raw(1, &lane([numbers(&[1]), vec![0, 0, 0, 2, 65]].concat())), WireError::Short),
        (raw(1, &lane([numbers(&[1]), vec![255, 255, 255, 255, 65]].concat())), WireError::Short),
        (raw(2, &lane(numbers(&[1]))), WireError::Count),
        (raw(2, &lane([numbers(&[u64::MAX - 1]), vec![0; 8]].concat())), WireError::Number),
        (raw(2, &lane([numbers(&[1]), vec![0; 4 * (BATCHES_MAX + 1)]].concat())), WireError::Count),
        (raw(3, &lane(numbers(&[5, 4]))), WireError::Number),
        (raw(3, &lane(numbers(&[1, 2])).repeat(HEADS_MAX + 1)), WireError::Count),
        (raw(4, &nack(&[])), WireError::Count),
        (raw(4, &nack(&[4, 4])), WireError::Number),
        (raw(4, &nack(&[4, 0])), WireError::Number),
        (raw(4, &nack(&[1, 2].repeat(RANGES_MAX + 1))), WireError::Count),
        (raw(5, b"x"), WireError::Rest),
        (raw(1, &lane([numbers(&[1]), vec![0; 4 * (MESSAGES_MAX + 1)]].concat())), WireError::Count),
        (vec![0; FLUSH_BYTES_MAX + 1].into(), WireError::Long),
    ];
    for (bytes, expected) in cases {
        let shown = bytes.slice(..bytes.len().min(80));
        assert_eq!(Flush::decode(bytes, &seals()[0], SPEAKS), Err(expected), "{shown:?}");
    }
}

#[test]
fn a_batch_takes_what_fits_and_always_one_message() {
    let mut batch = MessagesBuilder::default();
    let large = Bytes::from(vec![1; 100]);
    assert!(batch.push(&large, 10));
    assert!(!batch.push(&Bytes::new(), 10));
    assert!(batch.push(&Bytes::new(), 108));
    assert!(!batch.push(&Bytes::new(), 108));
    assert_eq!((batch.count(), batch.build().count()), (2, 2));

    let mut batch = MessagesBuilder::default();
    assert!((0..MESSAGES_MAX).all(|_| batch.push(&Bytes::new(), usize::MAX)));
    assert!(!batch.push(&Bytes::new(), usize::MAX));
}

#[test]
fn the_largest_message_fits_into_a_flush_and_its_repeat() {
    let [_, seal] = seals();
    let mut largest = MessagesBuilder::default();
    assert!(largest.push(&vec![0; MESSAGE_BYTES_MAX].into(), 0));
    let (lane, messages) = (Lane::Node(Epoch(1)), largest.build());
    for content in [
        Content::Batch(Batch { lane, number: 1, messages: messages.clone() }),
        Content::Repeat(Repeat { lane, first: 1, batches: vec![messages] }),
    ] {
        let bytes = flush(content).encode(&seal);
        assert!(Flush::decode(bytes, &seal, SPEAKS).is_ok());
    }
}

#[test]
fn mutated_flushes_are_read_or_refused_without_a_panic() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap_or_default()
    };
    let mut read = 0;
    for flush in one_of_each() {
        let bytes = flush.encode(&seals()[0]).to_vec();
        for _ in 0..4_000 {
            let mut mutated = bytes.clone();
            for _ in 0..1 + next() % 3 {
                let at = next() % mutated.len();
                match next() % 3 {
                    0 => mutated[at] ^= 1 << (next() % 8),
                    1 => mutated.insert(at, [0, 1, 255][next() % 3]),
                    _ => drop(mutated.remove(at)),
                }
            }
            read += usize::from(fuzz_wire(&mutated));
        }
    }
    // Otherwise the mutations would all be refused by the header.
    assert!(read > 1_000, "only {read} were read");
}
