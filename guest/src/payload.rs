//! Reading a payload.

use serde::de::DeserializeOwned;

use crate::field::{self, Found};
use crate::{Payload, PayloadError};

impl Payload {
    /// Returns one field of a JSON object. If `T` is an `Option`, the field may be missing or null. If the name occurs
    /// twice, the last field counts, as in JavaScript.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// let payload = json!({ "body": "hi" }).into_payload();
    /// let body: String = payload.field("body").unwrap();
    /// let answers: Option<u64> = payload.field("answers").unwrap();
    /// assert_eq!((body.as_str(), answers), ("hi", None));
    ///
    /// let error = payload.field::<u64>("body").unwrap_err();
    /// assert_eq!(error.to_string(), "body: invalid type: string \"hi\", expected a whole number");
    /// ```
    ///
    /// # Errors
    ///
    /// The field is missing or isn't a `T`, or the payload isn't a JSON object. With `?`, this is an `error` reply to
    /// the client, or it refuses the join: `{"reason": "body: missing, expected a string"}`.
    pub fn field<T: DeserializeOwned>(&self, name: &str) -> Result<T, PayloadError> {
        let json = self.json()?;
        match field::find(json, name).map_err(|error| PayloadError::json("payload", &error))? {
            Found::Value(text) => serde_json::from_str(text).map_err(|error| PayloadError::json(name, &error)),
            Found::Nothing => field::missing().map_err(|expected| PayloadError::new(format!("{name}: {expected}"))),
        }
    }

    /// Returns the whole JSON payload as a `T`.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// #[derive(Deserialize)]
    /// struct Move {
    ///     x: i32,
    ///     y: i32,
    /// }
    ///
    /// let payload = json!({ "x": 1, "y": 2 }).into_payload();
    /// let Move { x, y } = payload.parse().unwrap();
    /// assert_eq!((x, y), (1, 2));
    /// ```
    ///
    /// # Errors
    ///
    /// The payload isn't a `T`, or it is binary.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        serde_json::from_str(self.json()?).map_err(|error| PayloadError::json("payload", &error))
    }

    /// Returns the text of a JSON payload.
    ///
    /// # Errors
    ///
    /// The payload is binary.
    pub fn json(&self) -> Result<&str, PayloadError> {
        match self {
            Payload::Json(text) => Ok(text),
            Payload::Binary(_) => Err(PayloadError::new("payload: expected JSON, got bytes")),
        }
    }

    /// Returns the bytes of a binary payload.
    ///
    /// # Errors
    ///
    /// The payload is JSON.
    pub fn bytes(&self) -> Result<&[u8], PayloadError> {
        match self {
            Payload::Binary(bytes) => Ok(bytes),
            Payload::Json(_) => Err(PayloadError::new("payload: expected bytes, got JSON")),
        }
    }

    /// Returns this payload if it may be sent as an event: a JSON object, or bytes. It only looks at the first
    /// character, and doesn't parse the JSON.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// # fn shout(socket: &mut Socket, payload: Payload) -> Handled {
    /// socket.broadcast("shout", payload.object()?);
    /// # ok()
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The payload is JSON, but not an object.
    pub fn object(self) -> Result<Self, PayloadError> {
        match &self {
            Payload::Json(text) if !text.trim_ascii_start().starts_with('{') => {
                Err(PayloadError::new("payload: expected an object"))
            }
            _ => Ok(self),
        }
    }
}
