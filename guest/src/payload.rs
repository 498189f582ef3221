//! Reading what came in.

use serde::de::DeserializeOwned;

use crate::field::{self, Found};
use crate::{Payload, PayloadError};

impl Payload {
    /// One field of a JSON object. An `Option` may be missing.
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
    /// The field is missing or isn't a `T`, or the payload isn't an object.
    pub fn field<T: DeserializeOwned>(&self, name: &str) -> Result<T, PayloadError> {
        let json = self.json()?;
        match field::find(json, name).map_err(|error| PayloadError::json("payload", &error))? {
            Found::Value(text) => serde_json::from_str(text).map_err(|error| PayloadError::json(name, &error)),
            Found::Nothing => field::missing().map_err(|expected| PayloadError::new(format!("{name}: {expected}"))),
        }
    }

    /// The whole of a JSON payload.
    ///
    /// # Errors
    ///
    /// It isn't a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        serde_json::from_str(self.json()?).map_err(|error| PayloadError::json("payload", &error))
    }

    /// The text of a JSON payload.
    ///
    /// # Errors
    ///
    /// It is binary.
    pub fn json(&self) -> Result<&str, PayloadError> {
        match self {
            Payload::Json(text) => Ok(text),
            Payload::Binary(_) => Err(PayloadError::new("payload: expected JSON, got bytes")),
        }
    }

    /// The bytes of a binary payload.
    ///
    /// # Errors
    ///
    /// It is JSON.
    pub fn bytes(&self) -> Result<&[u8], PayloadError> {
        match self {
            Payload::Binary(bytes) => Ok(bytes),
            Payload::Json(_) => Err(PayloadError::new("payload: expected bytes, got JSON")),
        }
    }

    /// This payload, if it may be sent on as an event as it is: a JSON object, or bytes. It isn't parsed.
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
    /// It is JSON of another kind.
    pub fn object(self) -> Result<Self, PayloadError> {
        match &self {
            Payload::Json(text) if !text.trim_ascii_start().starts_with('{') => {
                Err(PayloadError::new("payload: expected an object"))
            }
            _ => Ok(self),
        }
    }
}
