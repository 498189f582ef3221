//! Who may ask: whoever has the key; and where there is none, this machine alone.

use std::net::SocketAddr;

use axum::http::{HeaderMap, Method, StatusCode, header};

use super::Refusal;
use crate::auth::Secret;

/// What stands before the key in `Authorization`.
const BEARER: &str = "Bearer ";

/// What proxies add, beside `X-Forwarded-…`. One that adds nothing can't be told from this machine.
const FORWARDED: [&str; 3] = ["forwarded", "via", "x-real-ip"];

/// Who may ask.
pub struct Access {
    key: Option<Secret>,
}

impl Access {
    /// Whoever presents this key; without one, this machine alone.
    #[must_use]
    pub fn new(key: Option<Secret>) -> Self {
        Self { key }
    }

    /// Lets a request pass.
    ///
    /// With a key, it must come as `Authorization: Bearer KEY`; it is compared in constant time. Without one, the peer is on
    /// a loopback address, nothing says that the request was forwarded, and the `Host` names this machine (a page elsewhere
    /// that made its own name point here is refused). What changes something must say that it brings JSON, and may not come
    /// from a page of another origin: a browser would send it for anybody.
    pub(super) fn check(&self, method: &Method, peer: SocketAddr, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(key) = &self.key else {
            if !is_local(peer, headers) {
                return Err(Refusal::new(
                    StatusCode::FORBIDDEN,
                    "local_only",
                    "without a key this host answers its own machine alone; set `api.key` in its configuration",
                ));
            }
            return if method == Method::GET { Ok(()) } else { check_origin(headers) };
        };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match given.and_then(|given| given.strip_prefix(BEARER)) {
            Some(given) if key.matches(given.as_bytes()) => Ok(()),
            Some(_) => {
                Err(Refusal::new(StatusCode::UNAUTHORIZED, "wrong_key", "this is not the key of this host's API"))
            }
            None => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "key_needed",
                "this host's API has a key; send it as `Authorization: Bearer KEY`",
            )),
        }
    }
}

fn check_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let is_own = origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://") == Some(host));
    if is_own {
        return Ok(());
    }
    let message = "a page of another origin may not change anything here";
    Err(Refusal::new(StatusCode::FORBIDDEN, "foreign_origin", message))
}

fn is_local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let is_sign = |name: &str| FORWARDED.contains(&name) || name.starts_with("x-forwarded");
    let is_forwarded = headers.keys().any(|name| is_sign(name.as_str()));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let with_port = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = with_port.map_or(host, |(name, _port)| name);
    let is_own = ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| name.eq_ignore_ascii_case(own));
    peer.ip().to_canonical().is_loopback() && !is_forwarded && is_own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key: Option<&str>, method: &Method, peer: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            map.insert(name, value.parse().expect("a header value"));
        }
        let access = Access::new(key.map(|key| Secret::new(key.as_bytes())));
        access.check(method, peer.parse().expect("an address"), &map).err().map(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn without_a_key_only_this_machine_is_answered() {
        let get = |peer, headers| asked(None, &Method::GET, peer, headers);
        assert_eq!(get("127.0.0.1:9", &[("host", "localhost:4000")]), None);
        assert_eq!(get("[::1]:9", &[("host", "[::1]:4000")]), None);
        assert_eq!(get("192.0.2.1:9", &[("host", "localhost:4000")]), Some(403));
        assert_eq!(get("127.0.0.1:9", &[("host", "rebound.example:4000")]), Some(403));
        assert_eq!(get("127.0.0.1:9", &[("host", "localhost:4000"), ("x-forwarded-for", "192.0.2.1")]), Some(403));
        assert_eq!(get("127.0.0.1:9", &[]), Some(403));
    }

    #[test]
    fn a_machine_s_own_name_has_three_forms_and_a_proxy_s_signs_undo_it() {
        let from = |host: &str, sign: Option<&'static str>| {
            let sign = sign.map(|sign| (sign, "x"));
            asked(None, &Method::GET, "[::1]:9", &[&[("host", host)], sign.as_slice()].concat())
        };
        for host in ["localhost", "LOCALHOST:4000", "[::1]", "[::1]:80", "127.0.0.1"] {
            assert_eq!(from(host, None), None, "{host}");
        }
        for host in ["localhost.evil.example", "127.0.0.10", "[::1", "localhost:x", "localhostx:1", ""] {
            assert_eq!(from(host, None), Some(403), "{host}");
        }
        for sign in ["x-forwarded-host", "forwarded", "via", "x-real-ip"] {
            assert_eq!(from("localhost", Some(sign)), Some(403), "{sign}");
        }
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let post =
            |origin| asked(None, &Method::POST, "127.0.0.1:9", &[("host", "localhost:4000"), ("origin", origin)]);
        assert_eq!(post("http://localhost:4000"), None);
        assert_eq!(post("http://evil.example"), Some(403));
        assert_eq!(post("null"), Some(403));
    }

    #[test]
    fn with_a_key_it_is_asked_of_everybody() {
        let with = |value| asked(Some("sesame"), &Method::GET, "192.0.2.1:9", &[("authorization", value)]);
        assert_eq!(with("Bearer sesame"), None);
        assert_eq!(with("Bearer sesam"), Some(401));
        assert_eq!(with("sesame"), Some(401));
        let local = asked(Some("sesame"), &Method::GET, "127.0.0.1:9", &[("host", "localhost")]);
        assert_eq!(local, Some(401));
    }
}
