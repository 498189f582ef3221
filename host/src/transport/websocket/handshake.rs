//! The opening handshake (RFC 6455, 4.2): whether a request asks for a WebSocket, and the answer that agrees.

use axum::body::Body;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Response, StatusCode, Version};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use hyper::upgrade::OnUpgrade;
use sha1::{Digest, Sha1};

/// What the server adds to a client's key, to show that it has understood (RFC 6455, 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a client's key, which it has drawn by chance (RFC 6455, 4.1).
const KEY_BYTES: usize = 16;

/// The version of the protocol.
const VERSION: &str = "13";

/// Whatever bits a client leaves behind the last byte, its key is of that many bytes.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A request for a WebSocket.
pub(super) struct Handshake {
    accept: HeaderValue,
    /// The connection itself, once the answer is written.
    pub(super) upgrade: OnUpgrade,
}

/// Why a request is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// It speaks another version of the protocol: 426, with the version that is spoken here.
    Version,
    /// Something else is wrong with it: 400.
    Bad(&'static str),
}

impl Handshake {
    /// Looks whether a request is one.
    ///
    /// # Errors
    /// What it lacks.
    pub(super) fn of(parts: &mut Parts) -> Result<Self, Lack> {
        let accept = judge(parts.version, &parts.headers)?;
        let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or(Lack::Bad("this connection can't be upgraded"))?;
        Ok(Self { accept, upgrade })
    }
}

/// Gives the answer to the key of a request that is an upgrade (RFC 6455, 4.2.1).
fn judge(version: Version, headers: &HeaderMap) -> Result<HeaderValue, Lack> {
    if version < Version::HTTP_11 || !headers.contains_key(HOST) {
        return Err(Lack::Bad("the request is none of HTTP/1.1 to a host"));
    }
    if !lists(headers, &CONNECTION, "upgrade") || !lists(headers, &UPGRADE, "websocket") {
        return Err(Lack::Bad("the request doesn't ask for an upgrade to it"));
    }
    // Its bytes would be read as frames.
    if headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
        return Err(Lack::Bad("the request has a body"));
    }
    match single(headers, &SEC_WEBSOCKET_VERSION) {
        Some(version) if version == VERSION => {}
        Some(_) => return Err(Lack::Version),
        None => return Err(Lack::Bad("the request doesn't say its protocol's version, or more than once")),
    }
    let key = single(headers, &SEC_WEBSOCKET_KEY).ok_or(Lack::Bad("the request has no key, or several"))?;
    if BASE64.decode(key.as_bytes()).map(|key| key.len()) != Ok(KEY_BYTES) {
        return Err(Lack::Bad("the key isn't 16 bytes in base64"));
    }
    accept(key.as_bytes()).ok_or(Lack::Bad("the key can't be answered"))
}

/// The value of a header that has one line.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

impl IntoResponse for Lack {
    fn into_response(self) -> Response<Body> {
        match self {
            Self::Bad(lack) => (StatusCode::BAD_REQUEST, format!("this is a WebSocket: {lack}\n")).into_response(),
            Self::Version => {
                // The upgrade that it takes has to be said (RFC 9110, 15.5.22), and the version that does (RFC 6455, 4.4).
                let headers = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, VERSION)];
                let text = "this is a WebSocket: the version of its protocol is 13\n";
                (StatusCode::UPGRADE_REQUIRED, headers, text).into_response()
            }
        }
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
    HeaderValue::from_str(&BASE64.encode(digest)).ok()
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

    /// A good request, with one line of it another one, or gone.
    fn judged(name: &'static str, values: &[&'static str]) -> Result<HeaderValue, Lack> {
        let mut headers = HeaderMap::new();
        let good = [
            ("host", "localhost"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (other, value) in good.into_iter().filter(|(other, _)| *other != name) {
            headers.insert(other, HeaderValue::from_static(value));
        }
        for value in values {
            headers.append(name, HeaderValue::from_static(value));
        }
        judge(Version::HTTP_11, &headers)
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        // The last has bits behind its last byte, which say nothing.
        for good in [
            "AAAAAAAAAAAAAAAAAAAAAA==",
            "dGhlIHNhbXBsZSBub25jZQ==",
            "/+/+/+/+/+/+/+/+/+/+/g==",
            "AAAAAAAAAAAAAAAAAAAAAB==",
        ] {
            assert!(judged("sec-websocket-key", &[good]).is_ok(), "{good}");
        }
        let bad = [
            "",
            "x",
            "AAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
            "dGhlIHNhbXBsZSBub25jZQ ==",
            "_-_-_-_-_-_-_-_-_-_-_g==",
        ];
        for bad in bad {
            assert!(matches!(judged("sec-websocket-key", &[bad]), Err(Lack::Bad(_))), "{bad}");
        }
    }

    #[test]
    fn what_comes_twice_or_not_at_all_is_refused() {
        for name in ["host", "connection", "upgrade", "sec-websocket-version", "sec-websocket-key"] {
            assert!(matches!(judged(name, &[]), Err(Lack::Bad(_))), "without {name}");
        }
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert!(matches!(judged("sec-websocket-key", &[key, key]), Err(Lack::Bad(_))));
        assert!(matches!(judged("sec-websocket-version", &["13", "13"]), Err(Lack::Bad(_))));
        for other in ["8", "14", "", "13, 8", "013"] {
            assert_eq!(judged("sec-websocket-version", &[other]), Err(Lack::Version), "{other}");
        }
        assert!(matches!(judge(Version::HTTP_10, &HeaderMap::new()), Err(Lack::Bad(_))));
    }

    #[test]
    fn an_upgrade_has_no_body() {
        assert!(judged("content-length", &["0"]).is_ok());
        assert!(judged("content-length", &["5"]).is_err() && judged("transfer-encoding", &["chunked"]).is_err());
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
