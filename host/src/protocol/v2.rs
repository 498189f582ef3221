//! Text frames of version 2: `[join_ref, ref, topic, event, payload]`.

use std::ops::Range;

use bennu_semantics::scan::{NotJson, Scanner, is_plain};
use bytestring::ByteString;

use super::message::number_ref;
use super::{Addressee, Frame, Malformed, Message, Outbound, Payload, Ref, To, binary, event};

pub(super) fn decode(text: &ByteString) -> Result<Message, Malformed> {
    let malformed =
        |NotJson(at)| Malformed(format!("not an array [join_ref, ref, topic, event, payload]: invalid at byte {at}"));
    let [join_ref, reference, topic, event, payload] = elements(text).map_err(malformed)?;
    Ok(Message {
        join_ref: Ref::from_json(slice(text, &join_ref)),
        reference: Ref::from_json(slice(text, &reference)),
        to: string(text, &topic).map_or_else(|| Addressee::Other(slice(text, &topic)), Addressee::Topic),
        event: string(text, &event).unwrap_or_else(|| slice(text, &event)),
        payload: Payload::Json(slice(text, &payload)),
    })
}

/// The range of a value in the text, and whether the value has no escape.
type Element = (Range<usize>, bool);

fn elements(text: &str) -> Result<[Element; 5], NotJson> {
    let mut scanner = Scanner::new(text);
    scanner.pass(b'[')?;
    let mut elements = [const { (0..0, false) }; 5];
    for (at, element) in elements.iter_mut().enumerate() {
        if at > 0 {
            scanner.pass(b',')?;
        }
        *element = scanner.value()?;
    }
    // Phoenix ignores the elements after the fifth.
    while scanner.passes(b',') {
        scanner.value()?;
    }
    scanner.pass(b']')?;
    if scanner.is_at_end() { Ok(elements) } else { Err(NotJson(text.len())) }
}

fn slice(text: &ByteString, (range, _): &Element) -> ByteString {
    text.slice_ref(&text[range.clone()])
}

/// Returns the string in an element, as a slice of the frame unless it has escapes. Returns `None` if the element is no
/// string.
fn string(text: &ByteString, (range, is_plain): &Element) -> Option<ByteString> {
    let quoted = &text[range.clone()];
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if *is_plain {
        return Some(text.slice_ref(inner));
    }
    serde_json::from_str::<String>(quoted).ok().map(ByteString::from)
}

pub(super) fn encode(message: Outbound<'_>) -> Option<Frame> {
    match message {
        Outbound::Reply { join_ref, reference, to, status, payload } => match payload {
            Payload::Json(response) => Some(reply(join_ref, reference, to, status, response)),
            Payload::Binary(bytes) => binary::encode_reply(join_ref, reference, to, status, bytes),
        },
        Outbound::Push { join_ref, topic, event, payload } => match payload {
            Payload::Json(json) => Some(event_frame((join_ref.json(), "null"), topic, event, json)),
            Payload::Binary(bytes) => binary::encode_push(join_ref, topic, event, bytes),
        },
        Outbound::Broadcast { topic, event, payload } => match payload {
            Payload::Json(json) => Some(event_frame(("null", "null"), topic, event, json)),
            Payload::Binary(bytes) => binary::encode_broadcast(topic, event, bytes),
        },
        Outbound::Numbered { join_ref, number, topic, event, payload } => match payload {
            Payload::Json(json) => Some(event_frame((join_ref.json(), &number_ref(number)), topic, event, json)),
            Payload::Binary(bytes) if join_ref.is_null() => binary::encode_broadcast(topic, event, bytes),
            Payload::Binary(bytes) => binary::encode_push(join_ref, topic, event, bytes),
        },
        Outbound::Close { join_ref, topic } => {
            Some(event_frame((join_ref.json(), join_ref.json()), topic, event::CLOSE, "{}"))
        }
        Outbound::Error { join_ref, topic } => {
            let refs = (join_ref.json(), join_ref.json());
            Some(event_frame(refs, topic, event::ERROR, r#"{"reason":"channel_crash"}"#))
        }
    }
}

fn reply(join_ref: &Ref, reference: &Ref, to: To<'_>, status: &str, response: &str) -> Frame {
    Frame::compose(|text| {
        open(text, join_ref.json(), reference.json());
        match to {
            To::Topic(topic) => push_string(text, topic),
            To::Other(json) => text.push_str(json),
        }
        text.push_str(",\"phx_reply\",{\"response\":");
        text.push_str(response);
        text.push_str(",\"status\":");
        push_string(text, status);
        text.push_str("}]");
    })
}

/// Writes an event that is no reply.
fn event_frame((join_ref, reference): (&str, &str), topic: &str, event: &str, payload: &str) -> Frame {
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

/// Writes a JSON string. Most names need no escapes, and are copied.
pub(super) fn push_string(text: &mut String, string: &str) {
    if is_plain(string) {
        text.push('"');
        text.push_str(string);
        text.push('"');
    } else {
        text.push_str(&serde_json::Value::from(string).to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use bennu_test_tiers::Noise;
    use serde_json::value::RawValue;

    use super::*;

    fn read(text: &'static str) -> Result<Message, Malformed> {
        decode(&ByteString::from_static(text))
    }

    #[test]
    fn an_array_of_five_elements_is_a_message() {
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
                to: (&to).into(),
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
        let null = Ref::NULL;
        for (join_ref, expected) in [(&null, "null"), (&join_ref, r#""1""#)] {
            let number = NonZeroU64::new(17).expect("not 0");
            let numbered = Outbound::Numbered { join_ref, number, topic: "room:a", event: "e", payload: &payload };
            assert_eq!(written(numbered), format!(r#"[{expected},"h17","room:a","e",{{}}]"#));
        }
        assert_eq!(
            written(Outbound::Close { join_ref: &join_ref, topic: "room:a" }),
            r#"["1","1","room:a","phx_close",{}]"#
        );
        assert_eq!(
            written(Outbound::Error { join_ref: &join_ref, topic: "room:a" }),
            r#"["1","1","room:a","phx_error",{"reason":"channel_crash"}]"#
        );
    }

    /// Returns the first five elements, if `serde_json` reads the text as an array of five or more.
    fn by_serde(text: &str) -> Option<Vec<&str>> {
        let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        (elements.len() >= 5).then(|| elements[..5].iter().map(|element| element.get()).collect())
    }

    #[test]
    fn the_array_is_read_as_serde_reads_it() {
        const PARTS: [&str; 12] = ["[", "]", ",", "1", "\"a\"", "{}", "[2]", " ", "null", "\"\\n\"", "{\"a\":[]}", "x"];
        let (mut noise, mut read) = (Noise::new(5), 0);
        let rounds = bennu_test_tiers::rounds("protocol::v2");
        for _ in 0..rounds {
            let mut parts = vec!["[", "\"1\"", ",", "null", ",", "\"t\"", ",", "\"e\"", ",", "{}", ",", "6", "]"];
            for _ in 0..noise.below(4) {
                let (at, part) = (noise.below(parts.len()), PARTS[noise.below(PARTS.len())]);
                match noise.below(3) {
                    0 => parts.insert(at, part),
                    1 => parts[at] = part,
                    _ => drop(parts.remove(at)),
                }
            }
            let text = parts.concat();
            let by_hand = elements(&text).ok();
            let by_hand = by_hand.map(|found| found.iter().map(|(range, _)| &text[range.clone()]).collect::<Vec<_>>());
            assert_eq!(by_hand, by_serde(&text), "{text}");
            read += usize::from(by_hand.is_some());
        }
        assert!(
            (rounds / 10..rounds / 10 * 9).contains(&read),
            "{read} of {rounds} could be read: too few of one kind"
        );
    }
}
