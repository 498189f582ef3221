//! Access to the API: every request needs the API key.

use axum::http::{HeaderMap, Method, StatusCode, header};

use super::ApiError;
use crate::auth::Secret;
use crate::socket::Reason;

/// The scheme of `Authorization` for the key. Its case doesn't matter (RFC 9110, section 11.1).
const SCHEME: &str = "bearer";

/// Checks the API key of requests.
pub struct Access {
    key: Secret,
}

/// Why a request has no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessError {
    /// It has no key.
    NoKey,
    /// Its key is wrong.
    WrongKey,
    /// It may change something, and comes from a page of another origin.
    ForeignOrigin,
}

impl AccessError {
    /// Returns the reason under which the request is counted.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::NoKey => Reason::ApiKeyMissing,
            Self::WrongKey => Reason::ApiKeyWrong,
            Self::ForeignOrigin => Reason::ApiOrigin,
        }
    }
}

impl From<AccessError> for ApiError {
    fn from(refusal: AccessError) -> Self {
        let (status, code, message) = match refusal {
            AccessError::NoKey => (
                StatusCode::UNAUTHORIZED,
                "key_needed",
                "this host's API requires a key; send it as `Authorization: Bearer KEY`. `api.key` of the configuration names \
                 the key; otherwise it is in the file `api-key` of the host's data directory",
            ),
            AccessError::WrongKey => (StatusCode::UNAUTHORIZED, "wrong_key", "this is not the key of this host's API"),
            AccessError::ForeignOrigin => {
                (StatusCode::FORBIDDEN, "foreign_origin", "a page of another origin may not change anything here")
            }
        };
        Self::new(status, code, message)
    }
}

impl Access {
    /// Grants access to requests with this key.
    #[must_use]
    pub fn new(key: Secret) -> Self {
        Self { key }
    }

    /// Checks a request.
    ///
    /// The key must come as `Authorization: Bearer KEY`, also from this machine: a request through a proxy on this machine
    /// may look like one of a local command. The key is compared in constant time.
    ///
    /// # Errors
    /// If the key is missing or wrong. Also if the request may change something (any method except `GET` and `HEAD`) and
    /// comes from a page of another origin, even with the right key.
    pub(super) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), AccessError> {
        if method != Method::GET && method != Method::HEAD {
            check_origin(headers)?;
        }
        self.check_key(headers)
    }

    /// Checks only the key of a request, which changes nothing.
    ///
    /// # Errors
    /// If the key is missing or wrong.
    pub(super) fn check_key(&self, headers: &HeaderMap) -> Result<(), AccessError> {
        let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        match given.and_then(bearer) {
            Some(key) if self.key.matches(key) => Ok(()),
            Some(_) => Err(AccessError::WrongKey),
            None => Err(AccessError::NoKey),
        }
    }
}

/// Returns the key after the scheme `Bearer`, or none for another scheme.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let key = rest.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(SCHEME.as_bytes()).then(|| key.trim_ascii_start())
}

/// Refuses a page of another origin. Only host and port are compared, not the scheme, because there may be a proxy for TLS in
/// front of the host.
fn check_origin(headers: &HeaderMap) -> Result<(), AccessError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let site = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_scheme, site)| site);
    if site.is_some_and(|site| !host.is_empty() && site.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(AccessError::ForeignOrigin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, headers: &[(&str, &str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            map.insert(name, value.parse().expect("a header value"));
        }
        let access = Access::new(Secret::new(b"sesame"));
        access.check(method, &map).err().map(|refusal| ApiError::from(refusal).status.as_u16())
    }

    #[test]
    fn every_request_needs_the_key() {
        let with = |value| asked(&Method::GET, &[("host", "localhost:4000"), ("authorization", value)]);
        for good in ["Bearer sesame", "bearer sesame", "BEARER sesame", "Bearer  sesame"] {
            assert_eq!(with(good), None, "{good}");
        }
        for bad in ["Bearer sesam", "Bearer sesame2", "sesame", "Basic sesame", "Bearersesame", "Bearer", "Bearer ", ""]
        {
            assert_eq!(with(bad), Some(401), "{bad}");
        }
        assert_eq!(asked(&Method::GET, &[("host", "localhost:4000")]), Some(401), "also from this machine");
        assert_eq!(asked(&Method::GET, &[]), Some(401));
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let with_key = ("authorization", "Bearer sesame");
        let from = |method, origin| asked(method, &[("host", "localhost:4000"), ("origin", origin), with_key]);
        for own in ["http://localhost:4000", "https://localhost:4000", "http://LOCALHOST:4000"] {
            assert_eq!(from(&Method::POST, own), None, "{own}");
        }
        for foreign in
            ["http://evil.example", "http://localhost:4001", "http://localhost", "localhost:4000", "null", ""]
        {
            assert_eq!(from(&Method::POST, foreign), Some(403), "{foreign}");
            assert_eq!(from(&Method::DELETE, foreign), Some(403), "{foreign}");
        }
        assert_eq!(
            asked(&Method::POST, &[("origin", "http://"), with_key]),
            Some(403),
            "without a host, no origin matches"
        );
        assert_eq!(asked(&Method::POST, &[("host", "localhost:4000"), with_key]), None, "a program sends no origin");
    }
}
