//! The body of a request: JSON, with a maximum size and a maximum time to arrive.

use std::fmt::Display;
use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use bytestring::ByteString;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::ApiError;
use crate::contract::plain;
use crate::counts::Limit;
use crate::protocol::{NAME_BYTES_MAX, Payload};
use crate::timing::within;

/// The maximum number of bytes of a request's body.
pub(super) const BODY_BYTES_MAX: usize = 8 << 20;

/// How long a body may take to arrive. It is limited because the part that has arrived is kept in memory.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The body of a request whose content type is JSON.
pub(crate) struct Body(pub(super) Bytes);

impl Body {
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        object(&self.0).map_err(|why| ApiError::bad(format!("the body: {why}")))
    }
}

/// Parses a JSON object. Refuses an array, because serde alone would accept an array of the fields' values.
pub(super) fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is not a JSON object".into());
    }
    serde_json::from_slice(json).map_err(|error| plain(&error.to_string()))
}

/// Makes a payload of the two fields that can have it. Without both, it is an empty object.
pub(super) fn payload_of<E: Display>(
    json: Option<&RawValue>,
    base64: Option<&str>,
    check: impl Fn(&Payload) -> Result<(), E>,
) -> Result<Payload, ApiError> {
    let payload = match (json, base64) {
        (Some(_), Some(_)) => return Err(ApiError::bad("give `payload` or `payload_base64`, not both")),
        (Some(json), None) => Payload::Json(ByteString::from(json.get())),
        (None, Some(text)) => {
            let bytes = BASE64_STANDARD.decode(text);
            Payload::Binary(bytes.map_err(|error| ApiError::bad(format!("`payload_base64`: {error}")))?.into())
        }
        (None, None) => Payload::EMPTY,
    };
    check(&payload).map_err(|error| ApiError::bad(error.to_string()))?;
    Ok(payload)
}

/// Checks a topic, an event or an id.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(ApiError::bad(format!("`{what}` must have 1 to {NAME_BYTES_MAX} bytes, not {}", name.len())));
    }
    Ok(())
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = content_type.and_then(|value| value.split(';').next()).is_some_and(is_json);
        if !is_json {
            let message = "the body must be JSON, with the header `content-type: application/json`";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message));
        }
        match within(BODY_TIME, Bytes::from_request(request, state)).await {
            Some(Ok(bytes)) => Ok(Self(bytes)),
            None => {
                Limit::ApiBody.hit();
                let message = format!("the body didn't arrive within {} s", BODY_TIME.as_secs());
                Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message))
            }
            Some(Err(_)) => {
                Limit::ApiBody.hit();
                let message = format!("a body may have at most {BODY_BYTES_MAX} bytes");
                Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message))
            }
        }
    }
}

/// Compares without case: media types are case-insensitive (RFC 9110, section 8.3.1).
fn is_json(media_type: &str) -> bool {
    media_type.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_of_a_media_type_is_ignored() {
        assert!(is_json("application/json") && is_json(" Application/JSON "));
        assert!(!is_json("application/jsonp") && !is_json("text/json") && !is_json(""));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_refused() {
        let never = axum::body::Body::from_stream(futures_util::stream::pending::<std::io::Result<Bytes>>());
        let mut request = Request::new(never);
        request.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        let refused = Body::from_request(request, &()).await.err().map(|refusal| refusal.status);
        assert_eq!(refused, Some(StatusCode::REQUEST_TIMEOUT));
    }
}
