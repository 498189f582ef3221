//! Damaged frames, from a fixed seed: every frame that can be read can be answered, and the answer is a valid frame.

use bennu_test_tiers::Noise;
use bytes::Bytes;
use bytestring::ByteString;
use serde::de::IgnoredAny;

use super::{Addressee, Frame, Incoming, Message, Outbound, Payload, Serializer};

/// Valid frames of clients.
const GOOD: [&[u8]; 9] = [
    br#"["1","2","room:a","phx_join",{"a":[1,null,true],"b":"\u00e9\ud83d\ude00"}]"#,
    br#"[null,{"a":1},"room:\u0061\"\\","event",[[[]]],"more"]"#,
    br#"[1.5e3,-0,"phoenix","heartbeat",{}]"#,
    br#"{"topic":"room:a","event":"phx_join","payload":{"a":1},"ref":"1","join_ref":null}"#,
    br#"{"ref":1,"payload":"x","event":"\n","topic":"room:\\"}"#,
    b"\0\x01\x01\x06\x0412room:aecho\xff\0",
    b"\0\0\0\x06\0room:a",
    b"\x03\x01\x01\x0a\x03\x0a\x0112realtime:acur{\"id\":[1]}{\"a\":[1,null,true],\"b\":\"\xc3\xa9\"}",
    b"\x03\x01\x01\x0a\x03\x02\x0012realtime:acur{}\xff\0",
];

/// The bytes that damage JSON in more ways than others.
const SHARP: &[u8] = b"\"\\[]{},:0u-e \x00\x7f\x80\xc3\xff";

fn damaged(noise: &mut Noise) -> Vec<u8> {
    let mut bytes = GOOD[noise.below(GOOD.len())].to_vec();
    for _ in 0..=noise.below(4) {
        let (at, sharp) = (noise.below(bytes.len() + 1), SHARP[noise.below(SHARP.len())]);
        match noise.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, sharp),
            2 if at < bytes.len() => bytes[at] = sharp,
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

/// Checks the frame by which other clients of Supabase get the message: they can read all of it.
fn broadcast(message: &Message, bytes: &[u8]) {
    let Message { to: Addressee::Topic(topic), event, payload, .. } = message else { return };
    let Some(frame) = Serializer::Supabase.encode(Outbound::Broadcast { topic, event, payload }) else { return };
    if frame.as_text().is_some() || frame.message()[0] != 4 {
        return;
    }
    let [_, topic, event, metadata, encoding, rest @ ..] = frame.message() else { panic!("{bytes:?}") };
    let (fields, payload) = rest.split_at(usize::from(*topic) + usize::from(*event) + usize::from(*metadata));
    let (names, metadata) = fields.split_at(usize::from(*topic) + usize::from(*event));
    assert!(std::str::from_utf8(names).is_ok(), "{bytes:?}");
    for json in [(*encoding == 1).then_some(payload), (!metadata.is_empty()).then_some(metadata)].into_iter().flatten()
    {
        assert!(serde_json::from_slice::<IgnoredAny>(json).is_ok(), "{bytes:?}");
    }
}

fn answered(serializer: Serializer, message: &Message, bytes: &[u8]) {
    let Message { join_ref, reference, to, payload, .. } = message;
    for payload in [payload, &Payload::EMPTY] {
        let reply = Outbound::Reply { join_ref, reference, to: to.into(), status: "ok", payload };
        if let Some(text) = serializer.encode(reply).as_ref().and_then(Frame::as_text) {
            let read: Result<IgnoredAny, _> = serde_json::from_str(text);
            assert!(read.is_ok(), "{text} answers {bytes:?}");
            // If it is read as a message of the same version, it has the same refs and the same topic.
            if serializer == Serializer::V2 {
                let back = serializer.decode(&Incoming::Text(text.into())).expect("an array of five");
                assert_eq!((&back.join_ref, &back.reference, &back.to), (join_ref, reference, to), "{bytes:?}");
            }
        }
    }
}

#[test]
fn every_frame_that_can_be_read_can_be_answered() {
    let (mut noise, mut read) = (Noise::new(7), 0);
    let rounds = bennu_test_tiers::rounds("protocol::noise");
    for _ in 0..rounds {
        let bytes = damaged(&mut noise);
        let text = std::str::from_utf8(&bytes).ok().map(|text| Incoming::Text(ByteString::from(text)));
        for incoming in text.into_iter().chain([Incoming::Binary(Bytes::copy_from_slice(&bytes))]) {
            for serializer in [Serializer::V1, Serializer::V2, Serializer::Supabase] {
                if let Ok(message) = serializer.decode(&incoming) {
                    broadcast(&message, &bytes);
                    answered(serializer, &message, &bytes);
                    read += 1;
                }
            }
        }
    }
    assert!(read > rounds / 20, "only {read} of {rounds} could be read at all");
}
