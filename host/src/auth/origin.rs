//! Origins of pages (RFC 6454), and patterns for them.

use std::fmt;

use http::uri::Authority;

/// The origin of a page: a scheme, a host and a port. The scheme and the host are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) scheme: Box<str>,
    pub(super) host: Box<str>,
    /// The given port, or else the default port of the scheme. None if the scheme has no known default.
    pub(super) port: Option<u16>,
}

impl Origin {
    /// Parses an `Origin` header. Returns none for a value without a host, such as `null`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if !is_scheme(scheme) {
            return None;
        }
        Self::of_site(scheme, rest.split(['/', '?', '#']).next()?)
    }

    /// Makes the origin that a request was sent to, from its scheme and its `Host` header.
    pub(super) fn of_site(scheme: &str, authority: &str) -> Option<Self> {
        let (host, port) = host_and_port(authority)?;
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or_else(|| own_port(&scheme));
        Some(Self { scheme: scheme.into(), host, port })
    }
}

/// An entry of `check_origin`. The scheme and the port are compared only if the pattern has them.
///
/// | pattern | fits |
/// | --- | --- |
/// | `https://example.com` | that host with https at port 443 |
/// | `//example.com` | that host at any scheme and port |
/// | `//example.com:8888` | that host at that port, at any scheme |
/// | `//*.example.com` | `example.com` and every subdomain |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: Option<Box<str>>,
    host: Box<str>,
    /// Whether subdomains of the host fit too.
    and_below: bool,
    port: Option<u16>,
}

/// The error for text that isn't a pattern, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoOriginPattern {
    text: String,
    why: &'static str,
}

impl OriginPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Returns an error with the text, the reason, and examples of patterns.
    pub fn parse(text: &str) -> Result<Self, NoOriginPattern> {
        let refused = |why| NoOriginPattern { text: text.to_owned(), why };
        let (scheme, rest) = match (text.strip_prefix("//"), text.split_once("://")) {
            (Some(rest), _) => (None, rest),
            (None, Some((scheme, rest))) if is_scheme(scheme) => (Some(scheme.to_ascii_lowercase()), rest),
            _ => return Err(refused("names no host: an origin begins with a scheme, as in https://, or with //")),
        };
        if rest.contains(['/', '?', '#']) {
            return Err(refused("continues after the host: an origin has no path, and no slash at its end"));
        }
        let (and_below, rest) = rest.strip_prefix("*.").map_or((false, rest), |rest| (true, rest));
        if rest.contains('*') {
            return Err(refused("has a star elsewhere than in `*.` before the host; `false` allows every origin"));
        }
        let (host, port) = host_and_port(rest).ok_or_else(|| refused("has no host, or no port, that can be read"))?;
        let port = port.or_else(|| own_port(scheme.as_deref()?));
        Ok(Self { scheme: scheme.map(Into::into), host, and_below, port })
    }

    pub(super) fn fits(&self, origin: &Origin) -> bool {
        let host_fits = || match origin.host.strip_suffix(&*self.host) {
            Some("") => true,
            Some(below) => self.and_below && below.ends_with('.'),
            None => false,
        };
        self.scheme.as_ref().is_none_or(|scheme| *scheme == origin.scheme)
            && self.port.is_none_or(|port| Some(port) == origin.port)
            && host_fits()
    }
}

impl fmt::Display for NoOriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}. Write https://example.com, //example.com:8888 or //*.example.com", self.text, self.why)
    }
}

impl std::error::Error for NoOriginPattern {}

fn is_scheme(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic()) && text.bytes().all(is_inner)
}

/// Parses `HOST` or `HOST:PORT`. Returns none if there is no host, if the port is invalid, or if there is a user name before
/// the host, which an origin never has.
fn host_and_port(text: &str) -> Option<(Box<str>, Option<u16>)> {
    let authority: Authority = text.parse().ok().filter(|_| !text.contains('@'))?;
    let host = authority.host();
    let port = match text.get(host.len()..)? {
        "" => None,
        port => Some(port.strip_prefix(':')?.parse().ok()?),
    };
    (!host.is_empty()).then(|| (host.to_ascii_lowercase().into(), port))
}

/// Returns the default port of a scheme.
fn own_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn invalid_patterns_are_refused_with_the_reason() {
        let cases = [
            ("", "names no host"),
            ("example.com", "names no host"),
            ("*.example.com", "names no host"),
            ("http//example.com", "names no host"),
            ("://example.com", "names no host"),
            ("https://", "no host"),
            ("//", "no host"),
            ("//:80", "no host"),
            ("//user@example.com", "no host"),
            ("//example.com:port", "no port"),
            ("//example.com:65536", "no port"),
            ("https://example.com/", "no slash at its end"),
            ("https://example.com/chat", "has no path"),
            ("//*", "`false` allows every origin"),
            ("//*example.com", "a star elsewhere"),
            ("//a.*.com", "a star elsewhere"),
            ("//*.*.com", "a star elsewhere"),
        ];
        for (text, words) in cases {
            let error = OriginPattern::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` ")) && error.contains(words), "{error}");
            assert!(error.contains("//*.example.com"), "{error}");
        }
    }

    #[test]
    fn the_case_of_letters_is_ignored() {
        let pattern = OriginPattern::parse("HTTPS://*.Example.COM").unwrap();
        assert!(pattern.fits(&Origin::parse("https://Chat.EXAMPLE.com").unwrap()));
    }
}
