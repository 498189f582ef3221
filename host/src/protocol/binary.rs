//! Binary frames of version 2: the kind, one byte for the size of each field, the fields, and the payload's bytes.
//!
//! | kind | direction | sizes of |
//! | --- | --- | --- |
//! | 0 push | from the client | join_ref, ref, topic, event |
//! | 0 push | to the client | join_ref, topic, event |
//! | 1 reply | to the client | join_ref, ref, topic, status |
//! | 2 broadcast | to the client | topic, event |

use bytes::Bytes;
use bytestring::ByteString;

use super::{Addressee, Frame, Malformed, Message, Payload, Ref, To};

const PUSH: u8 = 0;
const REPLY: u8 = 1;
const BROADCAST: u8 = 2;

pub(super) fn decode(frame: &Bytes) -> Result<Message, Malformed> {
    let [kind, join_ref, reference, topic, event, ..] = **frame else {
        return Err(Malformed("a binary frame must have a header of 5 bytes".into()));
    };
    if kind != PUSH {
        let hint = if kind == 3 { "; for Supabase's clients, set the mount's `serializer = \"supabase\"`" } else { "" };
        return Err(Malformed(format!("a client may send only binary frames of kind 0, not {kind}{hint}")));
    }
    let mut rest = frame.slice(5..);
    let mut field = |length| take_field(&mut rest, length);
    Ok(Message {
        join_ref: Ref::from_text(&field(join_ref)?),
        reference: Ref::from_text(&field(reference)?),
        to: Addressee::Topic(field(topic)?),
        event: field(event)?,
        payload: Payload::Binary(rest),
    })
}

/// Takes a field of this size from the start of the rest of a frame.
pub(super) fn take_field(rest: &mut Bytes, length: u8) -> Result<ByteString, Malformed> {
    if rest.len() < usize::from(length) {
        return Err(Malformed("a binary frame ends within its fields".into()));
    }
    rest.split_to(length.into()).try_into().map_err(|_| Malformed("a field is not UTF-8".into()))
}

pub(super) fn encode_reply(join_ref: &Ref, reference: &Ref, to: To<'_>, status: &str, bytes: &Bytes) -> Option<Frame> {
    let (To::Topic(topic) | To::Other(topic)) = to;
    assemble(REPLY, &[&join_ref.text(), &reference.text(), topic, status], bytes)
}

pub(super) fn encode_push(join_ref: &Ref, topic: &str, event: &str, bytes: &Bytes) -> Option<Frame> {
    assemble(PUSH, &[&join_ref.text(), topic, event], bytes)
}

pub(super) fn encode_broadcast(topic: &str, event: &str, bytes: &Bytes) -> Option<Frame> {
    assemble(BROADCAST, &[topic, event], bytes)
}

/// Writes a frame. Returns `None` if a field has more than 255 bytes.
fn assemble(kind: u8, fields: &[&str], bytes: &Bytes) -> Option<Frame> {
    let mut head = vec![kind];
    for field in fields {
        head.push(u8::try_from(field.len()).ok()?);
    }
    for field in fields {
        head.extend_from_slice(field.as_bytes());
    }
    Some(Frame::binary(&[&head, bytes]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_read() {
        let message = decode(&Bytes::from_static(b"\x00\x01\x01\x08\x0812room:binbin_echo\x01\x02"));
        assert_eq!(
            message,
            Ok(Message {
                join_ref: Ref::from_text("1"),
                reference: Ref::from_text("2"),
                to: Addressee::Topic("room:bin".into()),
                event: "bin_echo".into(),
                payload: Payload::Binary(Bytes::from_static(b"\x01\x02")),
            })
        );
    }

    #[test]
    fn an_empty_ref_is_a_string_and_not_null() {
        let message = decode(&Bytes::from_static(b"\x00\x00\x00\x01\x01te"));
        assert_eq!(message.map(|message| message.join_ref.is_null()), Ok(false));
    }

    #[test]
    fn short_frames_and_other_kinds_are_malformed() {
        for frame in
            [&b""[..], b"\x00", b"\x01\0\0\0\0", b"\x00\x05\x05\x05\x05\x01", b"\x07\0\0\0\0", b"\x00\x01\0\0\0\xff"]
        {
            assert!(decode(&Bytes::from_static(frame)).is_err(), "{frame:?}");
        }
    }

    #[test]
    fn frames_are_written_as_phoenix_writes_them() {
        let bytes = Bytes::from_static(b"\x01\x02\x03\xff");
        let frame = encode_reply(&Ref::from_text("1"), &Ref::from_text("2"), To::Topic("room:bin"), "ok", &bytes);
        assert_eq!(frame, Some(Frame::binary(&[b"\x01\x01\x01\x08\x0212room:binok\x01\x02\x03\xff"])));
        let frame = encode_push(&Ref::from_text("1"), "room:bin", "bin", &Bytes::from_static(b"\x09"));
        assert_eq!(frame, Some(Frame::binary(&[b"\x00\x01\x08\x031room:binbin\x09"])));
        let frame = encode_broadcast("room:bin", "bin", &Bytes::from_static(b"\x07\x08"));
        assert_eq!(frame, Some(Frame::binary(&[b"\x02\x08\x03room:binbin\x07\x08"])));
        assert_eq!(encode_broadcast(&"t".repeat(256), "bin", &bytes), None);
    }
}
