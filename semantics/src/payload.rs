//! The payload of a message.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{Error, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::scan::is_json;

/// A payload. The host doesn't interpret it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The text of one JSON value.
    Json(ByteString),
    /// Raw bytes.
    Binary(Bytes),
}

/// The empty object.
impl Default for Payload {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A string is the text of a JSON payload, and bytes are a binary one.
impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Content;

        impl Visitor<'_> for Content {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a payload")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Payload, E> {
                Ok(Payload::Json(text.into()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Payload, E> {
                Ok(Payload::Json(text.into()))
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Payload, E> {
                Ok(Payload::Binary(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Payload, E> {
                Ok(Payload::Binary(bytes.into()))
            }
        }

        source.deserialize_any(Content)
    }
}

/// The reason why a payload isn't allowed in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// The text isn't one JSON value. The string names the position of the error.
    NotJson(String),
    /// The JSON of a push or broadcast isn't an object.
    NotObject,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(why) => write!(f, "the payload is not one JSON value: {why}"),
            Self::NotObject => write!(f, "the payload of a push or broadcast must be a JSON object or binary"),
        }
    }
}

impl std::error::Error for PayloadError {}

impl Payload {
    /// The empty object: the payload of a reply without content.
    pub const EMPTY: Self = Self::Json(ByteString::from_static("{}"));

    /// An object with a `reason`: the payload of the host's error replies.
    #[must_use]
    pub fn reason(reason: &str) -> Self {
        Self::Json(serde_json::json!({ "reason": reason }).to_string().into())
    }

    /// Its length in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a copy to keep. A payload from a message may be a slice, and would keep the whole message in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        match self {
            Self::Json(text) => Self::Json(text.to_string().into()),
            Self::Binary(bytes) => Self::Binary(bytes.to_vec().into()),
        }
    }

    /// Checks that a JSON payload is one JSON value.
    ///
    /// # Errors
    /// If it isn't, with the position of the error.
    pub fn check_value(&self) -> Result<(), PayloadError> {
        match self {
            Self::Binary(_) => Ok(()),
            Self::Json(text) if is_json(text) => Ok(()),
            Self::Json(text) => serde_json::from_str::<IgnoredAny>(text)
                .map(|_| ())
                .map_err(|error| PayloadError::NotJson(error.to_string())),
        }
    }

    /// Checks that a JSON payload is one JSON object. phoenix.js accepts no other payload in pushes and broadcasts.
    ///
    /// # Errors
    /// If it isn't one JSON value, or a value of another kind.
    pub fn check_object(&self) -> Result<(), PayloadError> {
        self.check_value()?;
        match self {
            Self::Json(text) if !text.trim_ascii_start().starts_with('{') => Err(PayloadError::NotObject),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &'static str) -> Payload {
        Payload::Json(ByteString::from_static(text))
    }

    #[test]
    fn a_push_must_be_an_object_and_a_reply_may_be_any_value() {
        assert_eq!(json(" {\"a\":[1]} ").check_object(), Ok(()));
        assert_eq!(json("[1]").check_object(), Err(PayloadError::NotObject));
        assert_eq!(json("null").check_value(), Ok(()));
        assert_eq!(Payload::Binary(Bytes::new()).check_object(), Ok(()));
        for broken in ["", "{", "{} {}", "{\"a\":01}", "\"\u{1}\""] {
            assert!(matches!(json(broken).check_object(), Err(PayloadError::NotJson(_))), "{broken}");
        }
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        assert_eq!(Payload::Json(deep.into()).check_value(), Ok(()));
    }
}
