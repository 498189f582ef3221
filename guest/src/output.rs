//! What can be sent.

use serde::Serialize;

use crate::Payload;

/// Bytes to send as they are, in a binary frame: `socket.push("image", Binary(bytes))`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary(pub Vec<u8>);

/// What can be sent: `json!({ .. })` and everything else that is [`Serialize`], [`Binary`] for bytes, and a [`Payload`]
/// that is passed on as it came.
pub trait IntoPayload {
    /// This value as a payload.
    ///
    /// # Panics
    ///
    /// Where JSON has no form for the value, such as a map whose keys aren't text.
    fn into_payload(self) -> Payload;
}

/// What a reply carries that has nothing to say.
pub(crate) fn empty() -> Payload {
    Payload::Json("{}".into())
}

impl<T: Serialize> IntoPayload for T {
    fn into_payload(self) -> Payload {
        Payload::Json(as_json(&self))
    }
}

/// The JSON text of a value.
#[track_caller]
pub(crate) fn as_json<T: Serialize>(value: &T) -> String {
    match serde_json::to_string(value) {
        Ok(text) => text,
        Err(error) => panic!("a {} can't be sent as JSON: {error}", std::any::type_name::<T>()),
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
