//! The answers: JSON with the outcome as a status in it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_TYPE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use crate::protocol;
use crate::transport::stream::{Receipt, Receipts};

/// The body of an answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<String>>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl Answer {
    /// Creates an answer with a status only.
    pub(super) fn of(status: u16) -> Self {
        Self { messages: None, status, token: None }
    }

    /// Creates the answer to the request that begins a session.
    pub(super) fn begun(token: String) -> Self {
        Self { messages: Some(Vec::new()), status: 410, token: Some(token) }
    }

    /// Creates the answer with a session's frames, which may be none. As in Phoenix, the bytes of a frame are used as a
    /// string. Frames that aren't UTF-8 can't be sent, and are left out.
    pub(super) fn messages(frames: &[protocol::Frame], token: String) -> Self {
        let text = |frame: &protocol::Frame| {
            let text = str::from_utf8(frame.message()).ok().map(str::to_owned);
            if text.is_none() {
                tracing::debug!("a message was left out of a long-poll answer, because its bytes aren't UTF-8");
            }
            text
        };
        let status = if frames.is_empty() { 204 } else { 200 };
        Self { messages: Some(frames.iter().filter_map(text).collect()), status, token: Some(token) }
    }
}

/// The body of an answer that must not be lost. It passes its receipt to the connection when hyper takes the body to write
/// it. If hyper never takes it, the receipt is dropped with the body.
struct Receipted {
    body: Body,
    receipt: Option<Receipt>,
    receipts: Arc<Receipts>,
}

impl HttpBody for Receipted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(receipt) = self.receipt.take() {
            self.receipts.add(receipt);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Answer {
    /// Converts the answer to a response with a receipt. The connection fulfils the receipt once the response is written.
    pub(super) fn with_receipt(self, receipt: Option<Receipt>, receipts: &Arc<Receipts>) -> Response {
        let (head, body) = self.into_response().into_parts();
        let Some(receipt) = receipt else { return Response::from_parts(head, body) };
        Response::from_parts(
            head,
            Body::new(Receipted { body, receipt: Some(receipt), receipts: Arc::clone(receipts) }),
        )
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        ];
        match serde_json::to_vec(&self) {
            Ok(body) => (headers, body).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Answers the preflight request (CORS) of a page of another origin.
pub(super) fn options(asked: &HeaderMap) -> Response {
    let wanted = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(HeaderValue::from_static(""));
    let headers = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (ACCESS_CONTROL_ALLOW_HEADERS, wanted),
        (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("get, post, options")),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600")),
    ];
    (headers, "").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: &Answer) -> String {
        serde_json::to_string(answer).unwrap_or_default()
    }

    #[test]
    fn answers_have_phoenix_s_shapes() {
        let text = protocol::Frame::text("[1]");
        let bytes = |bytes: &[u8]| protocol::Frame::binary(&[bytes]);
        let some = vec![text, bytes(&[1, 97]), bytes(&[255])];
        let token = || "t".to_owned();
        assert_eq!(body(&Answer::of(403)), r#"{"status":403}"#);
        assert_eq!(body(&Answer::begun(token())), r#"{"messages":[],"status":410,"token":"t"}"#);
        assert_eq!(body(&Answer::messages(&[], token())), r#"{"messages":[],"status":204,"token":"t"}"#);
        let expected = r#"{"messages":["[1]","\u0001a"],"status":200,"token":"t"}"#;
        assert_eq!(body(&Answer::messages(&some, token())), expected);
    }
}
