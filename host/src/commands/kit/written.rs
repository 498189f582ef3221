//! Builds a line for the client, field by field.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bennu_semantics::scan::is_json;
use bennu_semantics::{Fault, Payload, Reply};
use serde_json::{Value, json};

use super::fields::StateForm;

/// A line under construction.
pub(super) struct Written(String);

impl Written {
    /// A line with this first field.
    pub(super) fn new(name: &str, value: impl Into<Value>) -> Self {
        Self(format!("{{{}:{}", Value::from(name), value.into()))
    }

    /// The answer `ok` with this JSON text.
    pub(super) fn ok(json: &str) -> Self {
        Self(format!("{{\"ok\":{}", one_line(json)))
    }

    /// The answer `fault`.
    pub(super) fn fault(fault: &Fault) -> Self {
        Self::new("fault", json!({ "kind": fault.kind.as_str(), "detail": fault.detail }))
    }

    /// Adds a field.
    pub(super) fn with(self, name: &str, value: impl Into<Value>) -> Self {
        self.raw(name, &value.into().to_string())
    }

    /// Adds a field with this JSON text.
    pub(super) fn raw(mut self, name: &str, json: &str) -> Self {
        self.0.push_str(&format!(",{}:{}", Value::from(name), one_line(json)));
        self
    }

    /// Adds a payload.
    pub(super) fn payload(self, payload: &Payload) -> Self {
        match payload {
            Payload::Json(text) => self.raw("payload", text),
            Payload::Binary(bytes) => self.with("payload_base64", STANDARD.encode(bytes)),
        }
    }

    /// Adds a state. It is null without a state or bytes.
    ///
    /// # Errors
    /// If the state isn't JSON, because it was given in base64.
    pub(super) fn state(self, name: &str, state: Option<&[u8]>, form: StateForm) -> Result<Self, Fault> {
        let Some(state) = state.filter(|state| !state.is_empty()) else { return Ok(self.raw(name, "null")) };
        if form == StateForm::Base64 {
            return Ok(self.with(name, STANDARD.encode(state)));
        }
        let text = std::str::from_utf8(state).ok().filter(|text| is_json(text));
        let text = text.ok_or_else(|| Fault::failed("a state that was given in base64 can't be read as JSON"))?;
        Ok(self.raw(name, text))
    }

    /// The whole line.
    pub(super) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A reply, as the text of an object.
pub(super) fn reply(reply: &Reply) -> String {
    Written::new("status", &*reply.status).payload(&reply.payload).end()
}

/// JSON in one line. In valid JSON a line end occurs only between tokens, where it means the same as a space.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}
