//! Events and replies, which a test compares with pairs such as `("new_msg", json!({ .. }))`.

use crate::{Binary, Payload, Reply, Value};

/// An event and its payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The event.
    pub event: String,
    /// Its payload.
    pub payload: Payload,
}

impl Sent {
    pub(super) fn new(event: &str, payload: &Payload) -> Self {
        Self { event: event.into(), payload: payload.clone() }
    }

    /// Its JSON payload.
    ///
    /// # Panics
    ///
    /// If the payload is bytes.
    #[track_caller]
    pub fn json(&self) -> Value {
        value(&self.payload)
    }
}

impl Payload {
    /// Its JSON value. Only for native tests.
    ///
    /// # Panics
    ///
    /// If it is bytes.
    #[track_caller]
    pub fn value(&self) -> Value {
        value(self)
    }
}

impl Reply {
    /// Its JSON payload. Only for native tests.
    ///
    /// # Panics
    ///
    /// If the payload is bytes.
    #[track_caller]
    pub fn json(&self) -> Value {
        value(&self.payload)
    }
}

#[track_caller]
fn value(payload: &Payload) -> Value {
    match payload.parse() {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

impl PartialEq<(&str, Value)> for Sent {
    fn eq(&self, (event, json): &(&str, Value)) -> bool {
        self.event == *event && is(&self.payload, json)
    }
}

impl PartialEq<(&str, Binary)> for Sent {
    fn eq(&self, (event, binary): &(&str, Binary)) -> bool {
        self.event == *event && self.payload.bytes() == Ok(&binary.0[..])
    }
}

impl PartialEq<(&str, Value)> for Reply {
    fn eq(&self, (status, json): &(&str, Value)) -> bool {
        self.status == *status && is(&self.payload, json)
    }
}

impl PartialEq<(&str, Binary)> for Reply {
    fn eq(&self, (status, binary): &(&str, Binary)) -> bool {
        self.status == *status && self.payload.bytes() == Ok(&binary.0[..])
    }
}

fn is(payload: &Payload, json: &Value) -> bool {
    payload.parse::<Value>().as_ref() == Ok(json)
}
