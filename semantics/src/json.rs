//! JSON that the host parses: published states, metas of presences, claims, and values to sign.
//!
//! JSON that the host passes on has to follow the grammar (RFC 8259), which `scan` checks. `JSON.parse` in a browser
//! accepts all such texts. JSON that the host parses must also be accepted by `serde_json`, which accepts less: no
//! number beyond the range of a double, no lone surrogate, no more than 127 levels. So the check of an effect and the
//! later parsing use the same function, and a text that passed the check can't fail later.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses the text of one JSON value.
///
/// Numbers keep their value: each one is read as the nearest double, as in JavaScript, or exactly if it is an integer of 64
/// bits. So a client gets the same number from a patch of a published state as from the whole state, which is sent as the
/// plugin's text. This needs `serde_json`'s feature `float_roundtrip`; without it, the last digit can change.
///
/// It differs from `serde_json::from_str::<Value>` in one point. With the feature `raw_value`, that function misreads
/// an object with the key `$serde_json::private::RawValue`, and a client can send such an object.
///
/// # Errors
/// If the text isn't one JSON value, or not one that `serde_json` accepts.
pub fn read_value(text: &str) -> serde_json::Result<Value> {
    let mut source = serde_json::Deserializer::from_str(text);
    let value = AnyValue.deserialize(&mut source)?;
    source.end()?;
    Ok(value)
}

/// Parses the text of one JSON object.
///
/// # Errors
/// See [`read_value`].
pub fn read_object(text: &str) -> serde_json::Result<Map<String, Value>> {
    let mut source = serde_json::Deserializer::from_str(text);
    let object = source.deserialize_map(Object)?;
    source.end()?;
    Ok(object)
}

struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(Self)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Value, A::Error> {
        Object.visit_map(fields).map(Value::Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        // If a name occurs twice, its last value counts, as in JavaScript.
        while let Some(name) = fields.next_key::<String>()? {
            object.insert(name, fields.next_value_seed(AnyValue)?);
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use bennu_test_tiers::Noise;

    use super::*;

    #[test]
    fn numbers_keep_their_value() {
        let mut noise = Noise::new(1);
        for _ in 0..20_000 {
            let [high, low] = [(); 2].map(|()| noise.below(1 << 31) as u64);
            let number = f64::from_bits(high << 33 ^ low << 2);
            if number.is_finite() {
                // The shortest text of the number, and one with more digits.
                for text in [format!("{number:?}"), format!("{number:.25e}")] {
                    let value = read_value(&text).expect("a number");
                    assert_eq!(value.as_f64(), Some(number), "{text}");
                    assert_eq!(value.to_string().parse(), Ok(number), "{text}");
                }
            }
        }
        for text in ["18446744073709551615", "-9223372036854775808", "0.1", "-2.5e-10"] {
            assert_eq!(read_value(text).expect("a number").to_string(), text);
        }
    }
}
