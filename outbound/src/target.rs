//! The rules for URLs: which ones a plugin may ask for, whatever it is granted.

use std::fmt;

use url::{Host, Url};

use crate::limits::URL_BYTES_MAX;

/// A URL that follows the rules: `http` or `https`, and no part that two programs may read in two ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: Url,
}

/// The rule that a URL breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// The URL is longer than 8 KiB.
    TooLong,
    /// The URL can't be parsed, or isn't absolute.
    Invalid,
    /// The URL is neither `http` nor `https`.
    Scheme,
    /// A space or a control character, such as a line break.
    Control,
    /// A backslash, which some programs read as a slash.
    Backslash,
    /// A user or a password before the host.
    UserInfo,
    /// A part after `#`, which is never sent.
    Fragment,
    /// A segment `.` or `..`, written plainly or in an encoded form.
    DotSegment,
    /// Port 0.
    Port,
}

/// How often a path is percent-decoded in search of hidden dots. Servers that decode twice exist; nobody decodes more often.
const DECODINGS: usize = 4;

impl Target {
    /// Parses an absolute URL, and checks it.
    ///
    /// # Errors
    /// Returns the rule that the URL breaks.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.len() > URL_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        // The parser removes or corrects each of these. They are refused before it sees them, so that a URL means the same to
        // the grants, to this client, and to the server.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(TargetError::Control);
        }
        if text.contains('\\') {
            return Err(TargetError::Backslash);
        }
        if text.contains('#') {
            return Err(TargetError::Fragment);
        }
        let (scheme, rest) = text.split_once("://").ok_or(TargetError::Invalid)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(TargetError::Scheme);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() {
            return Err(TargetError::Invalid);
        }
        if authority.contains('@') {
            return Err(TargetError::UserInfo);
        }
        check_segments(path.split('?').next().unwrap_or_default())?;
        Self::checked(Url::parse(text).map_err(|_| TargetError::Invalid)?)
    }

    /// Returns the URL that a `Location` header names, relative to this one.
    ///
    /// # Errors
    /// Returns the rule that the URL breaks.
    pub fn join(&self, location: &str) -> Result<Self, TargetError> {
        // A server may name a fragment, which matters only to a browser.
        let location = location.split('#').next().unwrap_or_default();
        if location.len() > URL_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        if location.contains('\\') {
            return Err(TargetError::Backslash);
        }
        if location.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(TargetError::Control);
        }
        let url = self.url.join(location).map_err(|_| TargetError::Invalid)?;
        if url.username() != "" || url.password().is_some() {
            return Err(TargetError::UserInfo);
        }
        Self::parse(url.as_str())
    }

    fn checked(url: Url) -> Result<Self, TargetError> {
        if url.username() != "" || url.password().is_some() {
            return Err(TargetError::UserInfo);
        }
        if url.host().is_none() {
            return Err(TargetError::Invalid);
        }
        if url.port() == Some(0) {
            return Err(TargetError::Port);
        }
        check_segments(url.path())?;
        Ok(Self { url })
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.url.scheme()
    }

    /// Whether the connection uses TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The host: a name in its ASCII form, or an address.
    #[must_use]
    pub fn host(&self) -> Host<&str> {
        // Checked at the parsing.
        self.url.host().unwrap_or(Host::Domain(""))
    }

    /// The host as a URL writes it: an IPv6 address is in brackets.
    #[must_use]
    pub fn host_text(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The port, also if it is the default one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or_default()
    }

    /// The path, percent-encoded. It begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The path with the query, as a request sends it.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        let start = self.url[..url::Position::BeforePath].len();
        &self.url.as_str()[start..]
    }

    /// The value of the header `host`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }

    /// Whether both URLs have the same scheme, host and port.
    #[must_use]
    pub fn has_same_origin(&self, other: &Self) -> bool {
        self.scheme() == other.scheme() && self.host() == other.host() && self.port() == other.port()
    }

    /// Whether the URL is only a scheme, a host and perhaps a port.
    #[must_use]
    pub fn is_origin(&self) -> bool {
        self.url.path() == "/" && self.url.query().is_none()
    }

    /// The whole URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }
}

/// Refuses segments of a path that a server may take for `.` or `..`: in any encoding, and with the parameters that some servers
/// allow after a semicolon.
fn check_segments(path: &str) -> Result<(), TargetError> {
    let mut path = path.to_owned();
    for _ in 0..=DECODINGS {
        let hidden = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
        if path.split(['/', '\\']).any(hidden) {
            return Err(TargetError::DotSegment);
        }
        let lower = path.to_ascii_lowercase();
        // The second one is a dot in a form of UTF-8 that is not allowed, but that some decoders accept.
        if lower.contains("%2e") || lower.contains("%c0%ae") {
            return Err(TargetError::DotSegment);
        }
        if ["%0d", "%0a", "%00"].iter().any(|control| lower.contains(control)) {
            return Err(TargetError::Control);
        }
        let decoded = decoded(&path);
        if decoded == path {
            return Ok(());
        }
        path = decoded;
    }
    Err(TargetError::DotSegment)
}

/// Decodes `%XX` once. What isn't ASCII stays encoded: it is no dot, slash or backslash.
fn decoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(u8::is_ascii) {
            Some(byte) => {
                text.push(byte.into());
                rest = &rest[at + 3..];
            }
            None => {
                text.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    text
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "a URL has more than {URL_BYTES_MAX} bytes"),
            Self::Invalid => f.write_str("a URL must be absolute, such as `https://api.example.com/v1/users`"),
            Self::Scheme => f.write_str("a URL must begin with `https://` or `http://`"),
            Self::Control => f.write_str("a URL must not have spaces, line breaks or other control characters"),
            Self::Backslash => f.write_str("a URL must not have a backslash"),
            Self::UserInfo => f.write_str("a URL must not have a user or a password; set a header instead"),
            Self::Fragment => f.write_str("a URL must not have a fragment (`#`), because it is never sent"),
            Self::DotSegment => f.write_str("the path of a URL must not have `.` or `..` as a segment, nor `%2e`"),
            Self::Port => f.write_str("a URL must not have port 0"),
        }
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_two_programs_may_read_in_two_ways_is_refused() {
        use TargetError::{Backslash, Control, DotSegment, Fragment, Invalid, Port, Scheme, UserInfo};
        let cases = [
            ("", Invalid),
            ("/v1", Invalid),
            ("//a.example/v1", Invalid),
            ("https:/a.example/", Invalid),
            ("https:a.example", Invalid),
            ("https:///a.example/", Invalid),
            ("https://", Invalid),
            ("https://?x", Invalid),
            ("https://a b/", Control),
            ("https://[::1/", Invalid),
            ("https://a.example:99999/", Invalid),
            ("https://a%2fb.example/", Invalid),
            ("https://a.example:0/", Port),
            ("ftp://a.example/", Scheme),
            ("file:///etc/passwd", Scheme),
            ("javascript://a.example/", Scheme),
            (" https://a.example/", Control),
            ("https://a.example/\r\nx: y", Control),
            ("https://a.exa\tmple/", Control),
            ("https://a.example/%0d%0ax", Control),
            ("https://a.example/%250d%250ax", Control),
            ("https://a.example/\u{7f}", Control),
            ("https://a.example/x\u{a0}y", Control),
            ("https://a.example\\@b.example/", Backslash),
            ("https:\\\\a.example/", Backslash),
            ("https://a.example/\\..\\b", Backslash),
            ("https://user@a.example/", UserInfo),
            ("https://user:password@a.example/", UserInfo),
            ("https://@a.example/", UserInfo),
            ("https://:@a.example/", UserInfo),
            ("https://a.example@b.example/v1", UserInfo),
            ("https://a.example/#b", Fragment),
            ("https://a.example#@b.example/", Fragment),
            ("https://a.example/v1/../admin", DotSegment),
            ("https://a.example/v1/./x", DotSegment),
            ("https://a.example/..", DotSegment),
            ("https://a.example/v1/%2e%2e/admin", DotSegment),
            ("https://a.example/v1/%2E%2E/admin", DotSegment),
            ("https://a.example/v1/.%2e/admin", DotSegment),
            ("https://a.example/v1/x%2ey", DotSegment),
            ("https://a.example/v1/%C0%AE%c0%ae/admin", DotSegment),
            ("https://a.example/v1/..%2fadmin", DotSegment),
            ("https://a.example/v1/..%5cadmin", DotSegment),
            ("https://a.example/v1/%252e%252e/admin", DotSegment),
            ("https://a.example/v1/..%252fadmin", DotSegment),
            ("https://a.example/v1/..;/admin", DotSegment),
            ("https://a.example/v1/..;x=1/admin", DotSegment),
            ("https://a.example/%2525252525252525252e", DotSegment),
        ];
        for (text, rule) in cases {
            assert_eq!(Target::parse(text), Err(rule), "{text:?}");
        }
        let long = format!("https://a.example/{}", "x".repeat(URL_BYTES_MAX));
        assert_eq!(Target::parse(&long), Err(TargetError::TooLong));
    }

    #[test]
    fn a_url_has_one_form() {
        let cases = [
            ("https://a.example", "https://a.example/", "a.example", 443),
            ("HTTPS://A.Example:443/V1", "https://a.example/V1", "a.example", 443),
            ("http://a.example:8080/x?y=1", "http://a.example:8080/x?y=1", "a.example", 8080),
            ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4", "xn--bcher-kva.example", 443),
            ("https://ａ．example/", "https://a.example/", "a.example", 443),
            ("http://0x7f.1/", "http://127.0.0.1/", "127.0.0.1", 80),
            ("http://2130706433/", "http://127.0.0.1/", "127.0.0.1", 80),
            ("http://017700000001/", "http://127.0.0.1/", "127.0.0.1", 80),
            ("http://[::FFFF:127.0.0.1]/", "http://[::ffff:7f00:1]/", "[::ffff:7f00:1]", 80),
            ("https://a.example/v1/group%2Fproject", "https://a.example/v1/group%2Fproject", "a.example", 443),
            ("https://a.example/v1/...", "https://a.example/v1/...", "a.example", 443),
            ("https://a.example/x?next=../..&at=%2e", "https://a.example/x?next=../..&at=%2e", "a.example", 443),
        ];
        for (text, whole, host, port) in cases {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.as_str(), target.host_text(), target.port()), (whole, host, port), "{text}");
        }
        let target = Target::parse("https://a.example:8443/x?y=1").unwrap();
        assert_eq!((target.path_and_query(), target.authority()), ("/x?y=1", "a.example:8443"));
    }

    #[test]
    fn a_location_is_joined_and_checked() {
        let target = Target::parse("https://a.example/v1/users?id=1").unwrap();
        let joined = |location: &str| target.join(location).map(|target| target.as_str().to_owned());
        assert_eq!(joined("/v2").unwrap(), "https://a.example/v2");
        assert_eq!(joined("other#part").unwrap(), "https://a.example/v1/other");
        assert_eq!(joined("//b.example/x").unwrap(), "https://b.example/x");
        assert_eq!(joined("http://169.254.169.254/latest").unwrap(), "http://169.254.169.254/latest");
        assert_eq!(joined("https://user@b.example/"), Err(TargetError::UserInfo));
        assert_eq!(joined("file:///etc/passwd"), Err(TargetError::Scheme));
        assert_eq!(joined("/\\b.example/"), Err(TargetError::Backslash));
        assert_eq!(joined("/x y"), Err(TargetError::Control));
        assert_eq!(joined("/v1/..;/admin"), Err(TargetError::DotSegment));
    }
}
