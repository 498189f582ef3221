//! The opening handshake (RFC 6455, 4.2): checks the request for an upgrade, and builds the answer that accepts it.

use axum::body::Body;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Response, StatusCode, Version};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use hyper::upgrade::OnUpgrade;
use sha1::{Digest, Sha1};

use super::extensions;

/// The text that is appended to the client's key before it is hashed for the answer (RFC 6455, 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a client's key, which are random (RFC 6455, 4.1).
const KEY_BYTES: usize = 16;

/// The version of the WebSocket protocol.
const VERSION: &str = "13";

/// Accepts any unused bits after the last byte of a key, because only the number of its bytes counts.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A request for a WebSocket.
pub(super) struct Handshake {
    accept: HeaderValue,
    /// The accepted extension, if there is one.
    extension: Option<&'static str>,
    /// Resolves to the connection once the answer is written.
    pub(super) upgrade: OnUpgrade,
}

/// Why a request isn't a valid WebSocket upgrade.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UpgradeError {
    /// The client uses another version of the protocol: 426, with the supported version.
    Version,
    /// Something else is wrong, for this reason: 400.
    Bad(&'static str),
}

impl Handshake {
    /// Checks a request for an upgrade. If the mount `compresses`, compression is negotiated.
    ///
    /// # Errors
    /// The reason why it isn't a valid one.
    pub(super) fn of(parts: &mut Parts, compresses: bool) -> Result<Self, UpgradeError> {
        let accept = check(parts.version, &parts.headers)?;
        let extension = if compresses { extensions::choose(&parts.headers) } else { Ok(None) };
        let extension =
            extension.map_err(|_| UpgradeError::Bad("`Sec-WebSocket-Extensions` isn't a list of extensions"))?;
        let upgrade =
            parts.extensions.remove::<OnUpgrade>().ok_or(UpgradeError::Bad("this connection can't be upgraded"))?;
        Ok(Self { accept, extension, upgrade })
    }

    /// Whether compression was negotiated.
    pub(super) fn deflates(&self) -> bool {
        self.extension.is_some()
    }
}

/// Checks the headers of an upgrade (RFC 6455, 4.2.1), and returns the `Sec-WebSocket-Accept` for its key.
pub(super) fn check(version: Version, headers: &HeaderMap) -> Result<HeaderValue, UpgradeError> {
    if version < Version::HTTP_11 || !headers.contains_key(HOST) {
        return Err(UpgradeError::Bad("the request isn't HTTP/1.1, or has no `Host`"));
    }
    if !lists(headers, &CONNECTION, "upgrade") || !lists(headers, &UPGRADE, "websocket") {
        return Err(UpgradeError::Bad("the request doesn't ask for an upgrade to WebSocket"));
    }
    // The bytes of a body would be read as frames.
    if headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
        return Err(UpgradeError::Bad("the request has a body"));
    }
    match single(headers, &SEC_WEBSOCKET_VERSION) {
        Some(version) if version == VERSION => {}
        Some(_) => return Err(UpgradeError::Version),
        None => return Err(UpgradeError::Bad("the request needs exactly one `Sec-WebSocket-Version`")),
    }
    let key = single(headers, &SEC_WEBSOCKET_KEY)
        .ok_or(UpgradeError::Bad("the request needs exactly one `Sec-WebSocket-Key`"))?;
    if BASE64.decode(key.as_bytes()).map(|key| key.len()) != Ok(KEY_BYTES) {
        return Err(UpgradeError::Bad("the key isn't 16 bytes in base64"));
    }
    accept(key.as_bytes()).ok_or(UpgradeError::Bad("the key can't be answered"))
}

/// Returns the value of a header that occurs exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

impl IntoResponse for UpgradeError {
    fn into_response(self) -> Response<Body> {
        match self {
            Self::Bad(reason) => {
                (StatusCode::BAD_REQUEST, format!("this is a WebSocket endpoint: {reason}\n")).into_response()
            }
            Self::Version => {
                // The answer must name the required upgrade (RFC 9110, 15.5.22), and the supported version (RFC 6455, 4.4).
                let headers = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, VERSION)];
                let text = "this is a WebSocket endpoint: it supports version 13 of the protocol\n";
                (StatusCode::UPGRADE_REQUIRED, headers, text).into_response()
            }
        }
    }
}

/// Returns the answer that accepts the upgrade, with the chosen subprotocol, if there is one.
pub(super) fn agree(accept: &Handshake, protocol: Option<&str>) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.accept.clone());
    if let Some(extension) = accept.extension {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(extension));
    }
    if let Some(protocol) = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok()) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    answer
}

/// Whether a header with a list contains this word. Letter case is ignored.
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

    /// Checks a valid request in which one header has these values, or is missing if there are none.
    fn checked(name: &'static str, values: &[&'static str]) -> Result<HeaderValue, UpgradeError> {
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
        check(Version::HTTP_11, &headers)
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        // The last key has unused bits after its last byte.
        for good in [
            "AAAAAAAAAAAAAAAAAAAAAA==",
            "dGhlIHNhbXBsZSBub25jZQ==",
            "/+/+/+/+/+/+/+/+/+/+/g==",
            "AAAAAAAAAAAAAAAAAAAAAB==",
        ] {
            assert!(checked("sec-websocket-key", &[good]).is_ok(), "{good}");
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
            assert!(matches!(checked("sec-websocket-key", &[bad]), Err(UpgradeError::Bad(_))), "{bad}");
        }
    }

    #[test]
    fn a_missing_or_repeated_header_is_refused() {
        for name in ["host", "connection", "upgrade", "sec-websocket-version", "sec-websocket-key"] {
            assert!(matches!(checked(name, &[]), Err(UpgradeError::Bad(_))), "without {name}");
        }
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert!(matches!(checked("sec-websocket-key", &[key, key]), Err(UpgradeError::Bad(_))));
        assert!(matches!(checked("sec-websocket-version", &["13", "13"]), Err(UpgradeError::Bad(_))));
        for other in ["8", "14", "", "13, 8", "013"] {
            assert_eq!(checked("sec-websocket-version", &[other]), Err(UpgradeError::Version), "{other}");
        }
        assert!(matches!(check(Version::HTTP_10, &HeaderMap::new()), Err(UpgradeError::Bad(_))));
    }

    #[test]
    fn an_upgrade_has_no_body() {
        assert!(checked("content-length", &["0"]).is_ok());
        assert!(checked("content-length", &["5"]).is_err() && checked("transfer-encoding", &["chunked"]).is_err());
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
