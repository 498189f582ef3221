//! What a request brings: JSON, and not too much of it.

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::Refusal;

/// Bytes of a request's body at most.
pub(super) const BODY_BYTES_MAX: usize = 8 << 20;

/// The body of a request that says it is JSON.
pub(super) struct Body(pub(super) Bytes);

impl Body {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.0).map_err(|error| Refusal::bad(format!("the body: {error}")))
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json =
            content_type.is_some_and(|value| value.split(';').next().is_some_and(|it| it.trim() == "application/json"));
        if !is_json {
            let message = "the body is JSON; say so with `content-type: application/json`";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", message));
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => {
                let message = format!("a body has at most {BODY_BYTES_MAX} bytes");
                Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message))
            }
        }
    }
}
