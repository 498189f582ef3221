//! Requests by HTTP: what a callback asks for, and what it gets.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::json;

use crate::{Fault, Payload};

/// A request as a callback asks for it. Its URL and headers are checked by the host, which knows the grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, such as `GET`.
    pub method: String,
    /// The URL.
    pub url: String,
    /// Names and values of headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The time to the end of the answer, if it is to be shorter than the host's limit.
    pub timeout: Option<Duration>,
}

/// The answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// Names, in lower case, and values of headers.
    pub headers: Vec<(String, String)>,
    /// The body, decoded.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpFailure {
    /// `busy`, `timeout`, `too-large`, `unreachable`, `broken` or `redirect`.
    pub kind: String,
    /// What happened, for a log.
    pub detail: String,
}

/// The result of a request.
pub type HttpResult = Result<HttpResponse, HttpFailure>;

impl HttpRequest {
    /// Reads the named options of a request. `timeout-ms` is the only one.
    ///
    /// # Errors
    /// Fault: failed, for an unknown name or a value that isn't allowed.
    pub fn timeout_of<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Option<Duration>, Fault> {
        let mut timeout = None;
        for (name, value) in settings {
            if name != "timeout-ms" {
                return Err(Fault::failed(format!("a request has no option `{name}`; the only one is `timeout-ms`")));
            }
            let number = value.parse().ok().filter(|number| *number > 0);
            let number =
                number.ok_or_else(|| Fault::failed(format!("`timeout-ms` is a number from 1, and not `{value}`")))?;
            timeout = Some(Duration::from_millis(number));
        }
        Ok(timeout)
    }

    /// Checks that the method only reads.
    ///
    /// # Errors
    /// Fault: failed.
    pub fn check_reads(&self) -> Result<(), Fault> {
        match self.method.as_str() {
            "GET" | "HEAD" => Ok(()),
            method => Err(Fault::failed(format!(
                "`http.get` takes the methods GET and HEAD, and not `{method}`: a call may run again, so it must only read; \
                 use `http.request`"
            ))),
        }
    }

    /// The bytes that count among those of the effects of a call.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.method.len() + self.url.len() + headers + self.body.len()
    }
}

/// The answers that a test gives to requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpTable(BTreeMap<(String, String), HttpResult>);

impl HttpTable {
    /// Sets the answer to each request with this method and URL.
    pub fn set(&mut self, method: &str, url: &str, result: HttpResult) {
        self.0.insert((method.to_owned(), url.to_owned()), result);
    }

    /// Returns the answer to a request. Without one in the table, the server is `unreachable`.
    pub fn answer(&self, method: &str, url: &str) -> HttpResult {
        let missing = || {
            let detail = format!("the test has no answer to {method} {url}");
            Err(HttpFailure { kind: "unreachable".into(), detail })
        };
        self.0.get(&(method.to_owned(), url.to_owned())).cloned().unwrap_or_else(missing)
    }
}

/// The payload of the message that `handle_info` gets with the answer to a request:
/// `{"status", "headers": [[name, value], ..], "body"}`, or `{"failure", "detail"}`. A body that isn't UTF-8 is in
/// `body_base64`.
#[must_use]
pub fn http_payload(result: &HttpResult) -> Payload {
    let value = match result {
        Ok(HttpResponse { status, headers, body }) => match std::str::from_utf8(body) {
            Ok(text) => json!({ "status": status, "headers": headers, "body": text }),
            Err(_) => json!({ "status": status, "headers": headers, "body_base64": base64(body) }),
        },
        Err(HttpFailure { kind, detail }) => json!({ "failure": kind, "detail": detail }),
    };
    Payload::Json(value.to_string().into())
}

/// Standard base64 with padding (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| chunk.get(at).copied().unwrap_or(0));
        let all = u32::from_be_bytes([0, a, b, c]);
        for at in 0..4 {
            let digit = usize::try_from(all >> (18 - 6 * at) & 63).unwrap_or(0);
            text.push(if at <= chunk.len() { ALPHABET[digit].into() } else { '=' });
        }
    }
    text
}

/// Reads the parameters of [`Effect::HttpRequest`](crate::Effect::HttpRequest) from a line of `bennu kit`.
pub(crate) fn read_request<'de, D: Deserializer<'de>>(source: D) -> Result<(ByteString, Box<HttpRequest>), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parameters {
        key: ByteString,
        method: Option<String>,
        url: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
        #[serde(default)]
        body: String,
        timeout_ms: Option<u64>,
    }
    let Parameters { key, method, url, headers, body, timeout_ms } = Parameters::deserialize(source)?;
    let method = method.unwrap_or_else(|| "POST".into());
    let timeout = timeout_ms.map(Duration::from_millis);
    Ok((key, Box::new(HttpRequest { method, url, headers, body: body.into(), timeout })))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(payload: &Payload) -> &str {
        match payload {
            Payload::Json(text) => text,
            Payload::Binary(_) => "",
        }
    }

    #[test]
    fn the_payload_of_an_answer_has_its_body_as_text_or_as_base64() {
        let response = |body: &'static [u8]| {
            Ok(HttpResponse { status: 200, headers: vec![("a".into(), "b".into())], body: body.into() })
        };
        assert_eq!(
            text(&http_payload(&response(b"{\"x\":1}"))),
            r#"{"body":"{\"x\":1}","headers":[["a","b"]],"status":200}"#
        );
        assert_eq!(
            text(&http_payload(&response(b"\xff\x00"))),
            r#"{"body_base64":"/wA=","headers":[["a","b"]],"status":200}"#
        );
        let failure = Err(HttpFailure { kind: "timeout".into(), detail: "x".into() });
        assert_eq!(text(&http_payload(&failure)), r#"{"detail":"x","failure":"timeout"}"#);
    }

    #[test]
    fn base64_has_padding() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (bytes, expected) in cases {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }

    #[test]
    fn an_option_is_known_and_allowed() {
        let timeout = |name, value| HttpRequest::timeout_of([(name, value)]);
        assert_eq!(timeout("timeout-ms", "250"), Ok(Some(Duration::from_millis(250))));
        for (name, value) in [("timeout-ms", "0"), ("timeout-ms", "-1"), ("timeout-ms", "x"), ("timeout", "1")] {
            assert!(timeout(name, value).is_err(), "{name} {value}");
        }
    }
}
