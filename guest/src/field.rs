//! Reads one field of a JSON object without building the rest of the object.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use crate::plain::plain;

/// The result of a search for a field.
pub(crate) enum Found<'a> {
    /// The field's JSON text.
    Value(&'a str),
    /// There is no such field.
    Nothing,
}

/// Searches for a field. If the name occurs twice, the last field counts, as in JavaScript.
pub(crate) fn find<'a>(json: &'a str, name: &str) -> serde_json::Result<Found<'a>> {
    serde_json::Deserializer::from_str(json).deserialize_map(Object { name })
}

/// Returns the value of a `T` whose field is missing: `None` for an `Option`. For any other type, returns the text of
/// the error.
pub(crate) fn missing<T: DeserializeOwned>() -> Result<T, String> {
    T::deserialize(Nothing).map_err(|error| {
        let text = plain(&error.to_string());
        text.strip_prefix("invalid type: nothing").map_or(text.clone(), |expected| format!("missing{expected}"))
    })
}

/// Visits an object and returns one field.
struct Object<'n> {
    name: &'n str,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Found<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with the field {}", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found::Nothing;
        while let Some(wanted) = map.next_key_seed(IsName(self.name))? {
            if wanted {
                found = Found::Value(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Decodes a key as a bool: whether it is the wanted name. So the key isn't copied.
struct IsName<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// A deserializer without a value. A type that can't be missing fails with an error that names the expected type.
struct Nothing;

impl<'de> Deserializer<'de> for Nothing {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::invalid_type(Unexpected::Other("nothing"), &visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_none()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use crate::prelude::*;

    fn reason<T: serde::de::DeserializeOwned + std::fmt::Debug>(payload: Value, name: &str) -> String {
        payload.into_payload().field::<T>(name).unwrap_err().to_string()
    }

    #[test]
    fn the_error_names_the_field_and_the_expected_type() {
        assert_eq!(reason::<String>(json!({}), "body"), "body: missing, expected a string");
        assert_eq!(
            reason::<String>(json!({ "body": 3 }), "body"),
            "body: invalid type: integer `3`, expected a string"
        );
        assert_eq!(reason::<Value>(json!({}), "body"), "body: missing, expected any valid JSON value");
        assert_eq!(
            reason::<String>(json!("text"), "body"),
            "payload: invalid type: string \"text\", expected an object with the field body"
        );
        assert_eq!(
            Binary(vec![1]).into_payload().field::<u8>("body").unwrap_err().to_string(),
            "payload: expected JSON, got bytes"
        );
    }

    #[test]
    fn an_option_may_be_missing_or_null() {
        let payload = json!({ "null": null, "one": 1 }).into_payload();
        assert_eq!(payload.field::<Option<u8>>("missing"), Ok(None));
        assert_eq!(payload.field::<Option<u8>>("null"), Ok(None));
        assert_eq!(payload.field::<Option<u8>>("one"), Ok(Some(1)));
    }

    #[test]
    fn keys_may_be_escaped_and_the_last_of_two_fields_counts() {
        let payload = Payload::Json(r#" { "a": {"b": [1]}, "b\u006fdy": "first", "body": "last" } "#.into());
        assert_eq!(payload.field::<String>("body"), Ok("last".to_owned()));
    }
}
