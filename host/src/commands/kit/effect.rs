//! Reads an effect from a line, by serde. So nothing here names an effect: the rules know the names and the fields.

use std::fmt;

use bennu_semantics::Effect;
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

use super::fields::{Fields, Misread, decode, string};

/// The fields with a JSON value of any kind, of which the effect gets the text. A field with the ending `_text` has the
/// text in a string, so that it can be invalid.
const JSON_FIELDS: [&str; 3] = ["payload", "state", "meta"];

/// The field with bytes in base64, and the field of the effect that gets the bytes.
const BYTES_FIELD: (&str, &str) = ("payload_base64", "payload");

/// Reads the effect with a name from all fields that are left.
pub(super) fn read(name: &str, fields: &mut Fields<'_>) -> Misread<Effect> {
    let parameters = fields.take().into_iter().map(|(name, raw)| Parameter::read(name, raw));
    let parameters = parameters.collect::<Misread<Vec<_>>>()?;
    let named = MapDeserializer::new(parameters.into_iter().map(|parameter| (parameter.name.clone(), parameter)));
    let effect = MapDeserializer::<_, Unread>::new(std::iter::once((name, named)));
    Effect::deserialize(MapAccessDeserializer::new(effect)).map_err(|Unread(why)| why)
}

/// A parameter of an effect.
struct Parameter<'a> {
    name: String,
    value: ParameterValue<'a>,
}

enum ParameterValue<'a> {
    /// JSON that serde reads.
    Json(&'a RawValue),
    /// A text. It may be JSON that serde must not read, because a plugin can give any text.
    Text(String),
    Bytes(Vec<u8>),
}

impl<'a> Parameter<'a> {
    fn read(field: String, raw: &'a RawValue) -> Misread<Self> {
        let base = field.strip_suffix("_text").filter(|base| JSON_FIELDS.contains(base));
        let (name, value) = if let Some(base) = base {
            (base.to_owned(), ParameterValue::Text(string(&field, raw)?))
        } else if JSON_FIELDS.contains(&field.as_str()) {
            (field, ParameterValue::Text(raw.get().to_owned()))
        } else if field == BYTES_FIELD.0 {
            (BYTES_FIELD.1.to_owned(), ParameterValue::Bytes(decode(&field, &string(&field, raw)?)?))
        } else {
            (field, ParameterValue::Json(raw))
        };
        Ok(Self { name, value })
    }
}

impl<'de> Deserializer<'de> for Parameter<'de> {
    type Error = Unread;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        let read = match self.value {
            ParameterValue::Json(raw) => {
                serde_json::Deserializer::from_str(raw.get()).deserialize_any(visitor).map_err(Unread::custom)
            }
            ParameterValue::Text(text) => visitor.visit_string(text),
            ParameterValue::Bytes(bytes) => visitor.visit_byte_buf(bytes),
        };
        read.map_err(|Unread(why)| Unread(format!("`{}`: {why}", self.name)))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        match self.value {
            ParameterValue::Json(raw) if raw.get() == "null" => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Unread> for Parameter<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The reason why the fields aren't those of an effect.
#[derive(Debug)]
struct Unread(String);

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unread {}

impl Error for Unread {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self(why.to_string())
    }

    fn unknown_variant(name: &str, _: &'static [&'static str]) -> Self {
        Self(format!("there is no `{name}` to ask for"))
    }

    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        Self(format!("there is no `{name}` here"))
    }

    fn missing_field(name: &'static str) -> Self {
        Self(format!("`{name}` is missing"))
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self(format!("`{name}` is given more than once"))
    }
}

#[cfg(test)]
mod tests {
    use bennu_semantics::{Payload, Reply};

    use super::*;

    fn effect(name: &str, line: &str) -> Misread<Effect> {
        read(name, &mut Fields::read(line).expect("an object"))
    }

    fn json(text: &str) -> Payload {
        Payload::Json(text.into())
    }

    #[test]
    fn a_payload_has_three_forms_and_is_empty_by_default() {
        let push = |payload| Ok(Effect::Push { event: "e".into(), payload });
        assert_eq!(effect("push", r#"{"event": "e"}"#), push(json("{}")));
        assert_eq!(effect("push", r#"{"event": "e", "payload": [1,  2]}"#), push(json("[1,  2]")));
        assert_eq!(effect("push", r#"{"event": "e", "payload": null}"#), push(json("null")));
        assert_eq!(effect("push", r#"{"event": "e", "payload_text": "{"}"#), push(json("{")));
        let bytes = Payload::Binary(bytes::Bytes::from_static(&[1, 2]));
        assert_eq!(effect("push", r#"{"event": "e", "payload_base64": "AQI="}"#), push(bytes));
    }

    #[test]
    fn effects_are_read_by_the_names_of_the_guide() {
        assert_eq!(effect("leave_seat", "{}"), Ok(Effect::LeaveSeat));
        let seat = Effect::TakeSeat { name: "ada".into(), grace_ms: 5 };
        assert_eq!(effect("take_seat", r#"{"seat": "ada", "ms": 5}"#), Ok(seat));
        assert_eq!(effect("tick", r#"{"ms": 0}"#), Ok(Effect::Tick { milliseconds: 0 }));
        let reply = |status: &str, payload| {
            Ok(Effect::Reply { reply_ref: "\"7\"".into(), reply: Reply { status: status.into(), payload } })
        };
        assert_eq!(effect("reply", r#"{"ref": "\"7\"", "status": null}"#), reply("ok", json("{}")));
        assert_eq!(effect("reply", r#"{"ref": "\"7\"", "status": "no", "payload": 1}"#), reply("no", json("1")));
        let meta = |meta: &str| Ok(Effect::Track { key: "k".into(), meta: meta.into() });
        assert_eq!(effect("track", r#"{"key": "k", "meta": {"a": 1}}"#), meta(r#"{"a": 1}"#));
        assert_eq!(effect("track", r#"{"key": "k", "meta_text": "{"}"#), meta("{"));
        let state = |state: &str| Ok(Effect::PublishState { state: state.into() });
        assert_eq!(effect("publish_state", r#"{"state": {"a": null}}"#), state(r#"{"a": null}"#));
        assert_eq!(effect("publish_state", r#"{"state_text": "{"}"#), state("{"));
    }

    #[test]
    fn a_wrong_line_is_refused_with_its_reason() {
        let why = |name, line| effect(name, line).expect_err("a wrong line");
        assert_eq!(why("dance", "{}"), "there is no `dance` to ask for");
        assert_eq!(why("push", "{}"), "`event` is missing");
        assert!(why("push", r#"{"event": null}"#).starts_with("`event`: invalid type: null"));
        assert_eq!(why("push", r#"{"event": "e", "evnt": null}"#), "there is no `evnt` here");
        assert_eq!(why("push", r#"{"event": "e", "topic": "t"}"#), "there is no `topic` here");
        assert_eq!(why("leave_seat", r#"{"seat": "ada"}"#), "there is no `seat` here");
        assert_eq!(why("reply", r#"{"ref": "1", "event": "e"}"#), "there is no `event` here");
        assert_eq!(
            why("push", r#"{"event": "e", "payload": 1, "payload_text": "2"}"#),
            "`payload` is given more than once"
        );
        assert!(why("push", r#"{"event": "e", "payload_base64": "?"}"#).contains("no base64"));
        assert!(why("push", r#"{"event": 1}"#).starts_with("`event`: invalid type"));
        assert!(why("push", r#"{"event": "e", "payload_text": 1}"#).starts_with("`payload_text`: invalid type"));
        assert!(why("tick", r#"{"ms": 4294967296}"#).starts_with("`ms`: invalid value"));
        assert!(why("tick", r#"{"ms": -1}"#).starts_with("`ms`: invalid value"));
    }
}
