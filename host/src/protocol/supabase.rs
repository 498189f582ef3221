//! The frames of Supabase Realtime's clients: those of version 2, and two more binary ones for the event `broadcast`.
//!
//! | kind | direction | sizes of |
//! | --- | --- | --- |
//! | 3 user broadcast push | from the client | join_ref, ref, topic, user event, metadata |
//! | 4 user broadcast | to the client | topic, user event, metadata |
//!
//! One byte for each size follows the kind, then one byte for the encoding (0: bytes, 1: JSON), then the fields, then the
//! user's payload. The metadata is an object in JSON, or empty.
//!
//! A channel gets such a push as the event `broadcast`. The payload of a JSON one is `{"type": "broadcast", "event",
//! "payload", "meta"}`, as the same message has in a text frame. The payload of one with bytes is *packed*: one byte for the
//! size of the user event, one for the size of the metadata, the user event, the metadata, the bytes. A broadcast to these
//! clients takes the same way back.

use std::borrow::Cow;

use bennu_semantics::scan::{Scanner, is_json};
use bytes::Bytes;
use bytestring::ByteString;

use super::{Addressee, Frame, Malformed, Message, Outbound, Payload, Ref, binary, v2};

const USER_BROADCAST_PUSH: u8 = 3;
const USER_BROADCAST: u8 = 4;

/// The encodings of a user's payload.
const BYTES: u8 = 0;
const JSON: u8 = 1;

/// The event of all messages with a user event. It is also their `type`.
const BROADCAST: &str = "broadcast";

pub(super) fn decode(frame: &Bytes) -> Result<Message, Malformed> {
    if frame.first() != Some(&USER_BROADCAST_PUSH) {
        return binary::decode(frame);
    }
    let [_, join_ref, reference, topic, user_event, metadata, encoding, ..] = **frame else {
        return Err(Malformed("a user broadcast must have a header of 7 bytes".into()));
    };
    let mut rest = frame.slice(7..);
    let mut field = |length| binary::take_field(&mut rest, length);
    let sizes = [user_event, metadata];
    let (join_ref, reference, topic) = (field(join_ref)?, field(reference)?, field(topic)?);
    let (user_event, metadata) = (field(user_event)?, field(metadata)?);
    if !metadata.is_empty() && !is_object(&metadata) {
        return Err(Malformed("the metadata of a user broadcast must be an object".into()));
    }
    let payload = match encoding {
        BYTES => Payload::Binary([&sizes[..], user_event.as_bytes(), metadata.as_bytes(), &rest].concat().into()),
        // As in Supabase's server, every other encoding counts as JSON.
        _ => Payload::Json(as_text(&user_event, &metadata, rest)?),
    };
    Ok(Message {
        join_ref: Ref::from_text(&join_ref),
        reference: Ref::from_text(&reference),
        to: Addressee::Topic(topic),
        event: ByteString::from_static(BROADCAST),
        payload,
    })
}

/// Whether a text is an object in JSON.
fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{') && is_json(text)
}

/// Writes a user broadcast whose payload is JSON as it is in a text frame.
fn as_text(user_event: &str, metadata: &str, payload: Bytes) -> Result<ByteString, Malformed> {
    let payload: ByteString = payload.try_into().map_err(|_| Malformed("the payload is not UTF-8".into()))?;
    if !is_json(&payload) {
        return Err(Malformed("the payload of a user broadcast is not JSON".into()));
    }
    let mut text = String::with_capacity(payload.len() + user_event.len() + metadata.len() + 64);
    text.push_str(r#"{"type":"broadcast","event":"#);
    v2::push_string(&mut text, user_event);
    text.push_str(r#","payload":"#);
    text.push_str(&payload);
    if !metadata.is_empty() {
        text.push_str(r#","meta":"#);
        text.push_str(metadata);
    }
    text.push('}');
    Ok(text.into())
}

/// Encodes a message. A broadcast that doesn't fit into a user broadcast, such as one with further fields, is a text frame.
/// Returns `None` for one whose bytes aren't packed: these clients can't read any other bytes.
pub(super) fn encode(message: Outbound<'_>) -> Option<Frame> {
    match message {
        Outbound::Broadcast { topic, event: BROADCAST, payload: Payload::Json(json) } => UserBroadcast::in_text(json)
            .and_then(|broadcast| broadcast.frame(topic, JSON))
            .or_else(|| v2::encode(message)),
        Outbound::Broadcast { topic, event: BROADCAST, payload: Payload::Binary(packed) }
        | Outbound::Push { topic, event: BROADCAST, payload: Payload::Binary(packed), .. } => {
            UserBroadcast::in_packed(packed)?.frame(topic, BYTES)
        }
        _ => v2::encode(message),
    }
}

/// A broadcast with a user event.
struct UserBroadcast<'a> {
    event: Cow<'a, str>,
    metadata: &'a str,
    payload: &'a [u8],
}

impl<'a> UserBroadcast<'a> {
    /// Reads the payload of a text frame, if it has only the fields of a user broadcast.
    fn in_text(text: &'a str) -> Option<Self> {
        let (mut scanner, mut found) = (Scanner::new(text), [const { None }; 4]);
        scanner.pass(b'{').ok()?;
        loop {
            let (name, _) = scanner.value().ok()?;
            scanner.pass(b':').ok()?;
            let at = [r#""type""#, r#""event""#, r#""payload""#, r#""meta""#]
                .iter()
                .position(|known| *known == &text[name.clone()])?;
            let (value, _) = scanner.value().ok()?;
            if found[at].replace(&text[value]).is_some() {
                return None;
            }
            if !scanner.passes(b',') {
                break;
            }
        }
        let [Some(r#""broadcast""#), Some(event), Some(payload), metadata] = found else { return None };
        let metadata = metadata.unwrap_or_default();
        if !(metadata.is_empty() || metadata.starts_with('{')) {
            return None;
        }
        Some(Self { event: serde_json::from_str(event).ok()?, metadata, payload: payload.as_bytes() })
    }

    fn in_packed(packed: &'a [u8]) -> Option<Self> {
        let [event, metadata, rest @ ..] = packed else { return None };
        let (event, rest) = rest.split_at_checked(usize::from(*event))?;
        let (metadata, payload) = rest.split_at_checked(usize::from(*metadata))?;
        let metadata = str::from_utf8(metadata).ok().filter(|text| text.is_empty() || is_object(text))?;
        Some(Self { event: str::from_utf8(event).ok()?.into(), metadata, payload })
    }

    /// Returns `None` if a field has more than 255 bytes.
    fn frame(&self, topic: &str, encoding: u8) -> Option<Frame> {
        let fields = [topic, &self.event, self.metadata];
        let mut head = vec![USER_BROADCAST];
        for field in fields {
            head.push(u8::try_from(field.len()).ok()?);
        }
        head.push(encoding);
        fields.iter().for_each(|field| head.extend_from_slice(field.as_bytes()));
        Some(Frame::binary(&[&head, self.payload]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frame: &'static [u8]) -> Result<Message, Malformed> {
        decode(&Bytes::from_static(frame))
    }

    fn broadcast(payload: &Payload) -> Option<Frame> {
        encode(Outbound::Broadcast { topic: "realtime:a", event: BROADCAST, payload })
    }

    /// The message of a frame that isn't text.
    fn bytes(frame: Option<&Frame>) -> Option<&[u8]> {
        frame.filter(|frame| frame.as_text().is_none()).map(Frame::message)
    }

    #[test]
    fn a_push_of_json_is_read_as_in_a_text_frame() {
        let message = read(b"\x03\x01\x02\x0a\x03\0\x01112realtime:acu\"[{\"x\": 1}]").expect("a message");
        assert_eq!(
            message,
            Message {
                join_ref: Ref::from_text("1"),
                reference: Ref::from_text("12"),
                to: Addressee::Topic("realtime:a".into()),
                event: "broadcast".into(),
                payload: Payload::Json(r#"{"type":"broadcast","event":"cu\"","payload":[{"x": 1}]}"#.into()),
            }
        );
        let message = read(b"\x03\0\0\x01\x01\x10\x01te{\"persist\":true}null").expect("a message");
        let text = r#"{"type":"broadcast","event":"e","payload":null,"meta":{"persist":true}}"#;
        assert_eq!(message.payload, Payload::Json(text.into()));
    }

    #[test]
    fn a_push_of_bytes_is_read_packed_and_goes_out_as_it_came() {
        let message = read(b"\x03\x01\x02\x0a\x03\x02\x00112realtime:acur{}\x00\xff").expect("a message");
        assert_eq!(message.payload, Payload::Binary(Bytes::from_static(b"\x03\x02cur{}\x00\xff")));
        let out = b"\x04\x0a\x03\x02\x00realtime:acur{}\x00\xff";
        assert_eq!(bytes(broadcast(&message.payload).as_ref()), Some(&out[..]));
        let join_ref = Ref::from_text("1");
        let push =
            Outbound::Push { join_ref: &join_ref, topic: "realtime:a", event: BROADCAST, payload: &message.payload };
        assert_eq!(bytes(encode(push).as_ref()), Some(&out[..]));
    }

    #[test]
    fn a_frame_that_another_client_could_not_read_is_malformed() {
        for frame in [
            &b"\x03\0\0\x01\x01\0"[..],
            b"\x03\0\0\x01\x02\0\x01te",
            b"\x03\0\0\x01\x01\0\x01te",
            b"\x03\0\0\x01\x01\0\x01te{]",
            b"\x03\0\0\x01\x01\0\x01te\"\xff\"",
            b"\x03\0\0\x01\x01\0\x00t\xff",
            b"\x03\0\0\x01\x01\x01\x01te1{}",
            b"\x03\0\0\x01\x01\x02\x00te{]",
            b"\x04\x01\x01\0\x01te{}",
        ] {
            assert!(read(frame).is_err(), "{frame:?}");
        }
    }

    #[test]
    fn a_broadcast_with_a_user_event_is_a_user_broadcast() {
        let cases: [(&str, &[u8]); 3] = [
            (r#"{"type":"broadcast","event":"e","payload":{"x":1}}"#, b"\x04\x0a\x01\0\x01realtime:ae{\"x\":1}"),
            (
                r#" { "payload" : [] , "event" : "\u00e9", "type" : "broadcast" } "#,
                b"\x04\x0a\x02\0\x01realtime:a\xc3\xa9[]",
            ),
            (
                r#"{"type":"broadcast","event":"e","payload":1,"meta":{"id":1}}"#,
                b"\x04\x0a\x01\x08\x01realtime:ae{\"id\":1}1",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(bytes(broadcast(&Payload::Json(json.into())).as_ref()), Some(expected), "{json}");
        }
    }

    #[test]
    fn any_other_broadcast_of_json_is_text() {
        let long = "e".repeat(256);
        for json in [
            "{}".to_owned(),
            r#"{"type":"broadcast","event":"e"}"#.into(),
            r#"{"event":"e","payload":{}}"#.into(),
            r#"{"type":"other","event":"e","payload":{}}"#.into(),
            r#"{"type":"broadcast","event":1,"payload":{}}"#.into(),
            r#"{"type":"broadcast","event":"\ud800","payload":{}}"#.into(),
            r#"{"type":"broadcast","event":"e","payload":{},"more":1}"#.into(),
            r#"{"type":"broadcast","event":"e","payload":{},"event":"f"}"#.into(),
            r#"{"type":"broadcast","event":"e","payload":{},"meta":1}"#.into(),
            format!(r#"{{"type":"broadcast","event":"{long}","payload":{{}}}}"#),
            format!(r#"{{"type":"broadcast","event":"e","payload":{{}},"meta":{{"a":"{long}"}}}}"#),
        ] {
            let frame = broadcast(&Payload::Json(json.as_str().into())).expect("a frame");
            assert_eq!(frame.as_text(), Some(&*format!(r#"[null,null,"realtime:a","broadcast",{json}]"#)));
        }
        let other = encode(Outbound::Broadcast { topic: "t", event: "presence_diff", payload: &Payload::EMPTY });
        assert_eq!(other.as_ref().and_then(Frame::as_text), Some(r#"[null,null,"t","presence_diff",{}]"#));
    }

    #[test]
    fn bytes_that_are_not_packed_are_not_sent() {
        for packed in [&b""[..], b"\x01", b"\x02\0e", b"\x01\0\xff", b"\0\x01\x31", b"\0\x02{]"] {
            assert_eq!(broadcast(&Payload::Binary(Bytes::from_static(packed))), None, "{packed:?}");
        }
    }
}
