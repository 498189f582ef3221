//! The fields of a line. Each is taken once, and a field that is left is an error of the client.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu_semantics::{Payload, Reply};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A value, or the reason why a line isn't understood.
pub(super) type Misread<T> = Result<T, String>;

/// The form of states in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StateForm {
    /// A JSON value. Its text is the state.
    #[default]
    Json,
    /// A string: the base64 of the state's bytes.
    Base64,
}

/// The fields of a JSON object.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> Fields<'a> {
    /// Reads the text of an object.
    pub(super) fn read(text: &'a str) -> Misread<Self> {
        let fields = serde_json::from_str(text).map_err(|error| format!("no JSON object: {error}"))?;
        Ok(Self { fields })
    }

    /// The first of these fields that exists, with its name.
    pub(super) fn first_of(&mut self, names: &[&'static str]) -> Option<(&'static str, &'a RawValue)> {
        names.iter().find_map(|name| Some((*name, self.fields.remove(*name)?)))
    }

    /// A field's value. Null counts as absent.
    pub(super) fn get<T: DeserializeOwned>(&mut self, name: &str) -> Misread<Option<T>> {
        let Some(raw) = self.fields.remove(name) else { return Ok(None) };
        value(name, raw)
    }

    /// The value of a required field.
    pub(super) fn need<T: DeserializeOwned>(&mut self, name: &str) -> Misread<T> {
        self.get(name)?.ok_or_else(|| format!("`{name}` is missing"))
    }

    /// The JSON text of a field.
    pub(super) fn json(&mut self, name: &str) -> Option<&'a str> {
        self.fields.remove(name).map(RawValue::get)
    }

    /// The object in a field. Null counts as absent.
    pub(super) fn object(&mut self, name: &str) -> Misread<Option<Self>> {
        match self.json(name) {
            None | Some("null") => Ok(None),
            Some(text) => Self::read(text).map(Some).map_err(|why| format!("`{name}`: {why}")),
        }
    }

    /// The bytes of a field in base64.
    pub(super) fn bytes(&mut self, name: &str) -> Misread<Option<Vec<u8>>> {
        let text: Option<String> = self.get(name)?;
        text.map(|text| decode(name, &text)).transpose()
    }

    /// A state. Null is a state without bytes. Such a room counts as a room that was never written.
    pub(super) fn state(&mut self, name: &str, form: StateForm) -> Misread<Option<Bytes>> {
        let Some(raw) = self.fields.remove(name) else { return Ok(None) };
        if raw.get() == "null" {
            return Ok(Some(Bytes::new()));
        }
        match form {
            StateForm::Json => Ok(Some(Bytes::copy_from_slice(raw.get().as_bytes()))),
            StateForm::Base64 => {
                let text: String = value(name, raw)?.unwrap_or_default();
                decode(name, &text).map(|bytes| Some(bytes.into()))
            }
        }
    }

    /// A payload: a JSON value (`payload`), a text that may be invalid JSON (`payload_text`), or bytes
    /// (`payload_base64`). Without these fields it is `{}`.
    pub(super) fn payload(&mut self) -> Misread<Payload> {
        match self.first_of(&["payload", "payload_text", "payload_base64"]) {
            None => Ok(Payload::EMPTY),
            Some(("payload", raw)) => Ok(Payload::Json(raw.get().into())),
            Some((name @ "payload_text", raw)) => Ok(Payload::Json(string(name, raw)?.into())),
            Some((name, raw)) => Ok(Payload::Binary(decode(name, &string(name, raw)?)?.into())),
        }
    }

    /// A reply: `status`, by default `ok`, and a payload.
    pub(super) fn reply(&mut self) -> Misread<Reply> {
        let status: Option<String> = self.get("status")?;
        Ok(Reply { status: status.unwrap_or_else(|| "ok".to_owned()).into(), payload: self.payload()? })
    }

    /// Takes all fields that are left.
    pub(super) fn take(&mut self) -> BTreeMap<String, &'a RawValue> {
        std::mem::take(&mut self.fields)
    }

    /// Checks that no field is left.
    pub(super) fn end(&self) -> Misread<()> {
        match self.fields.keys().next() {
            Some(name) => Err(format!("there is no `{name}` here")),
            None => Ok(()),
        }
    }
}

fn value<T: DeserializeOwned>(name: &str, raw: &RawValue) -> Misread<Option<T>> {
    serde_json::from_str(raw.get()).map_err(|error| format!("`{name}`: {error}"))
}

/// The string in a field.
pub(super) fn string(name: &str, raw: &RawValue) -> Misread<String> {
    value(name, raw)?.ok_or_else(|| format!("`{name}` is a string"))
}

/// The bytes of a field's base64.
pub(super) fn decode(name: &str, text: &str) -> Misread<Vec<u8>> {
    STANDARD.decode(text).map_err(|error| format!("`{name}` is no base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_or_json_text_or_bytes() {
        let payload = |text: &str| Fields::read(text).and_then(|mut fields| fields.payload());
        assert_eq!(payload("{}"), Ok(Payload::EMPTY));
        assert_eq!(payload(r#"{"payload": [1, 2]}"#), Ok(Payload::Json("[1, 2]".into())));
        assert_eq!(payload(r#"{"payload": null}"#), Ok(Payload::Json("null".into())));
        assert_eq!(payload(r#"{"payload_text": "{"}"#), Ok(Payload::Json("{".into())));
        assert_eq!(payload(r#"{"payload_base64": "AQI="}"#), Ok(Payload::Binary(Bytes::from_static(&[1, 2]))));
        assert!(payload(r#"{"payload_base64": "?"}"#).is_err_and(|why| why.contains("no base64")));
        assert!(payload("[]").is_err_and(|why| why.starts_with("no JSON object")));
    }

    #[test]
    fn an_unknown_field_is_named_in_the_error() {
        let mut fields = Fields::read(r#"{"topic": "a", "evnt": "b"}"#).expect("an object");
        assert_eq!(fields.need::<String>("topic"), Ok("a".into()));
        assert_eq!(fields.need::<String>("event"), Err("`event` is missing".into()));
        assert_eq!(fields.end(), Err("there is no `evnt` here".into()));
    }
}
