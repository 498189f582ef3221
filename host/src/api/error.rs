//! Errors of the API, as JSON.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::json;

use crate::socket::Reason;

/// An error of the API: `{"error": {"code", "message"}}`.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// The reason under which the request is counted, if it had no access.
    pub(super) reason: Option<Reason>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), reason: None }
    }

    /// Makes an error 400: the body or a parameter is invalid.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// Makes an error 422: another request had the same idempotency key.
    pub(super) fn key_reused() -> Self {
        let message = "this `Idempotency-Key` was used for a request with another body; use a new key for each request";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", message)
    }

    /// Returns the same error, with the place of what it is about.
    pub(super) fn within(self, place: &str) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    /// Makes an error 403: the key doesn't allow what the request asks for.
    pub(crate) fn out_of_scope(code: &'static str, message: impl Into<String>) -> Self {
        Self { reason: Some(Reason::ApiScope), ..Self::new(StatusCode::FORBIDDEN, code, message) }
    }

    /// Makes an error 500: the host itself failed.
    pub(crate) fn fault() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", "a fault of the host")
    }

    /// Makes an error 404: the thing that the request names doesn't exist.
    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
}

/// As a part of an answer: `{"code", "message"}`.
impl Serialize for ApiError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Error", 2)?;
        fields.serialize_field("code", self.code)?;
        fields.serialize_field("message", &self.message)?;
        fields.end()
    }
}

/// Makes an error 400 for a name in a path that can't be decoded.
impl From<PathRejection> for ApiError {
    fn from(error: PathRejection) -> Self {
        Self::bad(error.body_text())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self { status, code, message, reason } = self;
        let mut response = (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response();
        if let Some(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        response
    }
}
