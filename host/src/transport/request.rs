//! Checks that come before the routing of a request: its `Host`, and the form of its target.

use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::http::uri::{Authority, PathAndQuery};
use axum::http::{HeaderMap, HeaderValue, Request, Uri, Version};

/// The original target of a request. It is an extension of the request if the request is routed by another target.
#[derive(Clone)]
pub(super) struct AskedUri(Uri);

impl AskedUri {
    /// Returns the original target of a request.
    pub(super) fn of(parts: &Parts) -> &Uri {
        parts.extensions.get::<Self>().map_or(&parts.uri, |Self(uri)| uri)
    }
}

/// Prepares a request for routing. The host of an absolute target replaces `Host` (RFC 9112, 3.2.2), and empty segments of
/// the path are removed, as in Plug.
///
/// # Errors
/// The reason, if the request must be answered with 400 (RFC 9112, 3.2).
pub(super) fn prepare<B>(request: &mut Request<B>) -> Result<(), &'static str> {
    check_host(request.version(), request.headers())?;
    let uri = request.uri();
    if let Some(authority) = uri.authority() {
        if !uri.scheme_str().is_none_or(|scheme| scheme == "http" || scheme == "https") || !is_host(authority.as_str())
        {
            return Err("its target isn't an http address with a valid host");
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| "the host of its target isn't valid")?;
        request.headers_mut().insert(HOST, host);
    }
    let uri = request.uri();
    if let Some(path) = without_empty_segments(uri.path()) {
        let target = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let target = PathAndQuery::try_from(target).map_err(|_| "its target isn't valid")?;
        let asked = std::mem::replace(request.uri_mut(), Uri::from(target));
        request.extensions_mut().insert(AskedUri(asked));
    }
    Ok(())
}

fn check_host(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if host.to_str().is_ok_and(is_host) => Ok(()),
        (Some(_), None) => Err("its `Host` isn't valid"),
        (Some(_), Some(_)) => Err("it has several `Host` lines"),
        (None, _) if version >= Version::HTTP_11 => Err("it has no `Host`"),
        (None, _) => Ok(()),
    }
}

/// Whether a text is a host, with or without a port. An `http` address with an empty host is invalid (RFC 9110, 4.2.1). A
/// user name or password before the host isn't allowed here.
fn is_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let rest = text.get(authority.host().len()..);
    let port_fits = rest.is_some_and(|rest| match rest.strip_prefix(':') {
        Some(port) => {
            port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
        }
        None => rest.is_empty(),
    });
    !authority.host().is_empty() && !text.contains('@') && port_fits
}

/// Returns a path without its empty segments. Returns none if it has no empty segments, or isn't a path.
fn without_empty_segments(path: &str) -> Option<String> {
    let has_some = path.contains("//") || (path.len() > 1 && path.ends_with('/'));
    if !path.starts_with('/') || !has_some {
        return None;
    }
    let mut shortened = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        shortened.push('/');
        shortened.push_str(segment);
    }
    if shortened.is_empty() {
        shortened.push('/');
    }
    Some(shortened)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, target: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        *request.uri_mut() = target.parse().expect("a target");
        for host in hosts {
            request.headers_mut().append(HOST, host.parse().expect("a header's value"));
        }
        request
    }

    #[test]
    fn a_request_names_one_host() {
        let accepts = |hosts: &[&str]| prepare(&mut request(Version::HTTP_11, "/", hosts)).is_ok();
        for good in ["localhost", "localhost:4000", "localhost:", "[::1]:80", "[::1]", "10.0.0.1", "a-b.example", "a_b"]
        {
            assert!(accepts(&[good]), "{good}");
        }
        let bad = [
            "",
            ":80",
            "a:b",
            "a:99999",
            "a b",
            "ada@example.com",
            "a/b",
            "a?b",
            "a,b.example:80:80",
            "[::1",
            "[::1]x",
        ];
        for bad in bad {
            assert!(!accepts(&[bad]), "{bad:?}");
        }
        assert!(!accepts(&[]) && !accepts(&["localhost", "localhost"]) && !accepts(&["a", "b"]));
        assert!(prepare(&mut request(Version::HTTP_10, "/", &[])).is_ok(), "HTTP/1.0 doesn't require one");
    }

    #[test]
    fn the_host_of_an_absolute_target_replaces_the_header() {
        let mut absolute = request(Version::HTTP_11, "http://one.example:81//a/?q=//", &["two.example"]);
        assert_eq!(prepare(&mut absolute), Ok(()));
        assert_eq!(absolute.headers()[HOST], "one.example:81");
        assert_eq!((absolute.uri().path(), absolute.uri().query()), ("/a", Some("q=//")));
        for bad in ["ftp://one.example/", "http://ada@one.example/"] {
            assert!(prepare(&mut request(Version::HTTP_11, bad, &["two.example"])).is_err(), "{bad}");
        }
    }

    #[test]
    fn empty_segments_are_removed() {
        let cases = [
            ("/", None),
            ("*", None),
            ("/socket/websocket", None),
            ("/socket//websocket", Some("/socket/websocket")),
            ("/socket/websocket/", Some("/socket/websocket")),
            ("//socket/websocket", Some("/socket/websocket")),
            ("///", Some("/")),
            ("/a%2F/", Some("/a%2F")),
        ];
        for (path, expected) in cases {
            assert_eq!(without_empty_segments(path).as_deref(), expected, "{path}");
        }
        let mut doubled = request(Version::HTTP_11, "//a//b/?x=/&y", &["h"]);
        assert_eq!(prepare(&mut doubled), Ok(()));
        let (parts, ()) = doubled.into_parts();
        assert_eq!((parts.uri.to_string().as_str(), AskedUri::of(&parts).path()), ("/a/b?x=/&y", "//a//b/"));
    }
}
