//! Version 2 in text: `[join_ref, ref, topic, event, payload]`.

use std::fmt;

use bytestring::ByteString;
use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Addressee, Frame, Malformed, Message, Outbound, Payload, Ref, binary, event};

/// The five elements, as slices of the text.
struct Envelope<'a>([&'a RawValue; 5]);

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array [join_ref, ref, topic, event, payload]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut next = |at| elements.next_element()?.ok_or_else(|| A::Error::invalid_length(at, &self));
        let envelope = Envelope([next(0)?, next(1)?, next(2)?, next(3)?, next(4)?]);
        // Phoenix ignores what comes after the fifth.
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(envelope)
    }
}

pub(super) fn decode(text: &ByteString) -> Result<Message, Malformed> {
    let mut json = serde_json::Deserializer::from_str(text);
    let Envelope([join_ref, reference, topic, event, payload]) = json
        .deserialize_seq(EnvelopeVisitor)
        .and_then(|envelope| json.end().map(|()| envelope))
        .map_err(|error| Malformed(error.to_string()))?;
    let slice = |raw: &RawValue| text.slice_ref(raw.get());
    Ok(Message {
        join_ref: Ref::from_json(slice(join_ref)),
        reference: Ref::from_json(slice(reference)),
        to: string_in(text, topic).map_or_else(|| Addressee::Other(slice(topic)), Addressee::Topic),
        event: string_in(text, event).unwrap_or_else(|| slice(event)),
        payload: Payload::Json(slice(payload)),
    })
}

/// The string that `raw` stands for: a slice of the frame unless it has escapes. None if it is no string.
pub(super) fn string_in(text: &ByteString, raw: &RawValue) -> Option<ByteString> {
    let quoted = raw.get();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(quoted).ok().map(ByteString::from);
    }
    Some(text.slice_ref(inner))
}

pub(super) fn encode(message: Outbound<'_>) -> Option<Frame> {
    match message {
        Outbound::Reply { join_ref, reference, to, status, payload } => match payload {
            Payload::Json(response) => Some(reply(join_ref, reference, to, status, response)),
            Payload::Binary(bytes) => binary::encode_reply(join_ref, reference, to, status, bytes),
        },
        Outbound::Push { join_ref, topic, event, payload } => match payload {
            Payload::Json(json) => Some(about((join_ref.json(), "null"), topic, event, json)),
            Payload::Binary(bytes) => binary::encode_push(join_ref, topic, event, bytes),
        },
        Outbound::Broadcast { topic, event, payload } => match payload {
            Payload::Json(json) => Some(about(("null", "null"), topic, event, json)),
            Payload::Binary(bytes) => binary::encode_broadcast(topic, event, bytes),
        },
        Outbound::Close { join_ref, topic } => {
            Some(about((join_ref.json(), join_ref.json()), topic, event::CLOSE, "{}"))
        }
        Outbound::Error { join_ref, topic } => {
            let refs = (join_ref.json(), join_ref.json());
            Some(about(refs, topic, event::ERROR, r#"{"reason":"channel_crash"}"#))
        }
    }
}

fn reply(join_ref: &Ref, reference: &Ref, to: &Addressee, status: &str, response: &str) -> Frame {
    Frame::compose(|text| {
        open(text, join_ref.json(), reference.json());
        match to {
            Addressee::Topic(topic) => push_string(text, topic),
            Addressee::Other(json) => text.push_str(json),
        }
        text.push_str(",\"phx_reply\",{\"response\":");
        text.push_str(response);
        text.push_str(",\"status\":");
        push_string(text, status);
        text.push_str("}]");
    })
}

/// An event that is no reply.
fn about((join_ref, reference): (&str, &str), topic: &str, event: &str, payload: &str) -> Frame {
    Frame::compose(|text| {
        open(text, join_ref, reference);
        push_string(text, topic);
        text.push(',');
        push_string(text, event);
        text.push(',');
        text.push_str(payload);
        text.push(']');
    })
}

fn open(text: &mut String, join_ref: &str, reference: &str) {
    text.push('[');
    text.push_str(join_ref);
    text.push(',');
    text.push_str(reference);
    text.push(',');
}

/// Writes a JSON string. Names rarely need escapes, and then it is a copy.
pub(super) fn push_string(text: &mut String, string: &str) {
    if string.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        text.push_str(&serde_json::Value::from(string).to_string());
    } else {
        text.push('"');
        text.push_str(string);
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<Message, Malformed> {
        decode(&ByteString::from_static(text))
    }

    #[test]
    fn an_array_of_five_is_a_message() {
        let message = read(r#" ["1", 2, "room:\u0031", "new_msg", {"a" : [1e3, 1]}, "more"] "#);
        assert_eq!(
            message,
            Ok(Message {
                join_ref: Ref::from_json("\"1\"".into()),
                reference: Ref::from_json("2".into()),
                to: Addressee::Topic("room:1".into()),
                event: "new_msg".into(),
                payload: Payload::Json("{\"a\" : [1e3, 1]}".into()),
            })
        );
    }

    #[test]
    fn a_topic_of_another_type_can_be_answered() {
        let message = read(r#"["1","1",5,"phx_join",{}]"#);
        assert_eq!(message.map(|message| message.to), Ok(Addressee::Other("5".into())));
    }

    #[test]
    fn everything_else_is_malformed() {
        for text in
            ["", "not json", "{}", "[]", "[1,2,3]", "null", r#"["1","1","t","e",{}"#, r#"["1","1","t","e",{}]]"#]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn frames_are_written_as_phoenix_writes_them() {
        let (join_ref, reference) = (Ref::from_text("1"), Ref::from_text("2"));
        let to = Addressee::Topic("room:\"a\"".into());
        let payload = Payload::EMPTY;
        let written = |message| match encode(message) {
            Some(frame) => frame.as_text().expect("text").to_owned(),
            None => panic!("nothing was written"),
        };
        assert_eq!(
            written(Outbound::Reply {
                join_ref: &join_ref,
                reference: &reference,
                to: &to,
                status: "ok",
                payload: &payload
            }),
            r#"["1","2","room:\"a\"","phx_reply",{"response":{},"status":"ok"}]"#
        );
        assert_eq!(
            written(Outbound::Push { join_ref: &join_ref, topic: "room:a", event: "e", payload: &payload }),
            r#"["1",null,"room:a","e",{}]"#
        );
        assert_eq!(
            written(Outbound::Broadcast { topic: "room:a", event: "e", payload: &payload }),
            r#"[null,null,"room:a","e",{}]"#
        );
        assert_eq!(
            written(Outbound::Close { join_ref: &join_ref, topic: "room:a" }),
            r#"["1","1","room:a","phx_close",{}]"#
        );
        assert_eq!(
            written(Outbound::Error { join_ref: &join_ref, topic: "room:a" }),
            r#"["1","1","room:a","phx_error",{"reason":"channel_crash"}]"#
        );
    }
}
