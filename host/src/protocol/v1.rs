//! Version 1: objects of `topic`, `event`, `payload` and `ref`.
//!
//! Messages to clients have exactly these four fields: a client of version 1 gets no join ref, and can't get bytes.

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::number_ref;
use super::v2::push_string;
use super::{Addressee, Frame, Malformed, Message, Outbound, Payload, Ref, To, event};

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    topic: &'a RawValue,
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow, rename = "ref")]
    reference: &'a RawValue,
    #[serde(borrow, default)]
    join_ref: Option<&'a RawValue>,
}

pub(super) fn decode(text: &ByteString) -> Result<Message, Malformed> {
    // Serde would read an array by position, but arrays belong to version 2.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Malformed("a message of version 1 must be an object".into()));
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| Malformed(error.to_string()))?;
    let slice = |raw: &RawValue| text.slice_ref(raw.get());
    Ok(Message {
        join_ref: envelope.join_ref.map_or(Ref::NULL, |raw| Ref::from_json(slice(raw))),
        reference: Ref::from_json(slice(envelope.reference)),
        to: string_in(text, envelope.topic).map_or_else(|| Addressee::Other(slice(envelope.topic)), Addressee::Topic),
        event: string_in(text, envelope.event).unwrap_or_else(|| slice(envelope.event)),
        payload: Payload::Json(slice(envelope.payload)),
    })
}

/// Returns the string in `raw`, as a slice of the frame unless it has escapes. Returns `None` if `raw` is no string.
fn string_in(text: &ByteString, raw: &RawValue) -> Option<ByteString> {
    let quoted = raw.get();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(quoted).ok().map(ByteString::from);
    }
    Some(text.slice_ref(inner))
}

pub(super) fn encode(message: Outbound<'_>) -> Option<Frame> {
    Some(match message {
        Outbound::Reply { reference, to, status, payload, .. } => {
            let mut response = format!("{{\"response\":{},\"status\":", json(payload)?);
            push_string(&mut response, status);
            response.push('}');
            object(event::REPLY, &response, reference.json(), to)
        }
        Outbound::Push { topic, event, payload, .. } | Outbound::Broadcast { topic, event, payload } => {
            object(event, json(payload)?, "null", To::Topic(topic))
        }
        Outbound::Numbered { number, topic, event, payload, .. } => {
            object(event, json(payload)?, &number_ref(number), To::Topic(topic))
        }
        Outbound::Close { topic, .. } => object(event::CLOSE, "{}", "null", To::Topic(topic)),
        Outbound::Error { topic, .. } => {
            object(event::ERROR, r#"{"reason":"channel_crash"}"#, "null", To::Topic(topic))
        }
    })
}

/// Returns a payload that this version can carry.
fn json(payload: &Payload) -> Option<&ByteString> {
    match payload {
        Payload::Json(json) => Some(json),
        Payload::Binary(_) => None,
    }
}

fn object(event: &str, payload: &str, reference: &str, to: To<'_>) -> Frame {
    Frame::compose(|text| {
        text.push_str("{\"event\":");
        push_string(text, event);
        text.push_str(",\"payload\":");
        text.push_str(payload);
        text.push_str(",\"ref\":");
        text.push_str(reference);
        text.push_str(",\"topic\":");
        match to {
            To::Topic(topic) => push_string(text, topic),
            To::Other(json) => text.push_str(json),
        }
        text.push('}');
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_fields_are_required_and_a_join_ref_is_read() {
        let read = |text: &'static str| decode(&ByteString::from_static(text));
        let message = read(r#"{"topic":"room:a","event":"e","payload":[1],"ref":"1","join_ref":7}"#);
        assert_eq!(message.map(|message| message.join_ref), Ok(Ref::from_json("7".into())));
        for text in [
            r#"{"topic":"room:a","event":"e","payload":{}}"#,
            r#"[null,"1","room:a","e",{}]"#,
            r#"["room:a","e",{},"1"]"#,
            "1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn replies_have_four_fields_and_no_join_ref() {
        let reply = encode(Outbound::Reply {
            join_ref: &Ref::from_text("9"),
            reference: &Ref::from_text("1"),
            to: To::Topic("room:a"),
            status: "ok",
            payload: &Payload::EMPTY,
        });
        let expected = r#"{"event":"phx_reply","payload":{"response":{},"status":"ok"},"ref":"1","topic":"room:a"}"#;
        assert_eq!(reply, Some(Frame::text(expected)));
        let bytes = Payload::Binary(bytes::Bytes::from_static(b"\x01"));
        assert_eq!(encode(Outbound::Broadcast { topic: "room:a", event: "e", payload: &bytes }), None);
    }
}
