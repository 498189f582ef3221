//! Values that can be sent as a payload.

use serde::Serialize;

use crate::Payload;

/// Bytes that are sent unchanged in a binary frame: `socket.push("image", Binary(bytes))`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary(pub Vec<u8>);

/// A value that can be sent: `json!({ .. })` and every other [`Serialize`] type, [`Binary`] for bytes, and a
/// [`Payload`], which is passed on unchanged.
pub trait IntoPayload {
    /// Returns this value as a payload.
    ///
    /// # Panics
    ///
    /// If the value can't be written as JSON, for example a map whose keys aren't text.
    #[track_caller]
    fn into_payload(self) -> Payload;
}

/// Returns `{}`, the payload of a reply without content.
pub(crate) fn empty() -> Payload {
    Payload::Json("{}".into())
}

impl<T: Serialize> IntoPayload for T {
    fn into_payload(self) -> Payload {
        Payload::Json(as_json(&self))
    }
}

/// Returns the JSON text of a value.
#[track_caller]
pub(crate) fn as_json<T: Serialize>(value: &T) -> String {
    match serde_json::to_string(value) {
        Ok(text) => text,
        Err(error) => panic!("a {} can't be written as JSON: {error}", std::any::type_name::<T>()),
    }
}

impl IntoPayload for Binary {
    fn into_payload(self) -> Payload {
        Payload::Binary(self.0)
    }
}

impl IntoPayload for Payload {
    fn into_payload(self) -> Payload {
        self
    }
}
