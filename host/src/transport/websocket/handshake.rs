//! The opening handshake (RFC 6455, 4.2): whether a request asks for a WebSocket, and the answer that agrees.

use axum::body::Body;
use axum::http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Response, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::upgrade::OnUpgrade;
use sha1::{Digest, Sha1};

/// What the server adds to a client's key, to show that it has understood (RFC 6455, 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request for a WebSocket.
pub(super) struct Handshake {
    accept: HeaderValue,
    /// The connection itself, once the answer is written.
    pub(super) upgrade: OnUpgrade,
}

impl Handshake {
    /// Looks whether a request is one.
    ///
    /// # Errors
    /// What it lacks.
    pub(super) fn of(parts: &mut Parts) -> Result<Self, &'static str> {
        let headers = &parts.headers;
        if !lists(headers, &CONNECTION, "upgrade") || !lists(headers, &UPGRADE, "websocket") {
            return Err("the request doesn't ask for an upgrade to it");
        }
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err("the version of its protocol is 13");
        }
        let Some(key) = headers.get(SEC_WEBSOCKET_KEY) else { return Err("the request has no key") };
        let accept = accept(key.as_bytes()).ok_or("the key can't be answered")?;
        let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or("this connection can't be upgraded")?;
        Ok(Self { accept, upgrade })
    }
}

/// The answer, with the subprotocol that is spoken, if one was chosen.
pub(super) fn agree(accept: &Handshake, protocol: Option<&str>) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.accept.clone());
    if let Some(protocol) = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    answer
}

/// Whether a header that is a list has this word in it.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}

fn accept(key: &[u8]) -> Option<HeaderValue> {
    let digest = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize();
    HeaderValue::from_str(&BASE64_STANDARD.encode(digest)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, 1.3.
    #[test]
    fn a_key_is_answered_as_the_rfc_says() {
        let answer = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer, Some(HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    }

    #[test]
    fn a_word_is_found_in_any_of_the_lists() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("keep-alive"));
        headers.append(CONNECTION, HeaderValue::from_static("te, UPGRADE "));
        assert!(lists(&headers, &CONNECTION, "upgrade") && !lists(&headers, &CONNECTION, "grade"));
        assert!(!lists(&headers, &UPGRADE, "websocket"));
    }
}
