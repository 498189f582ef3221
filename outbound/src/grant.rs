//! Grants: the URLs that a plugin may ask for, as patterns.

use std::fmt;
use std::net::IpAddr;

use url::Host;

use crate::address::AddressRule;
use crate::target::{Target, TargetError};

/// A pattern of URLs: a scheme, a host, a port, and a path, which may end in `/*`. The query of a URL is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The pattern without the asterisk at its end.
    target: Target,
    /// Whether the path is a prefix.
    is_prefix: bool,
    addresses: AddressRule,
}

/// The reason why a text is no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantError {
    /// It isn't a URL that the rules allow.
    Target(TargetError),
    /// An asterisk that isn't the whole last segment of the path.
    Asterisk,
    /// A query.
    Query,
}

impl Grant {
    /// Parses a pattern, such as `https://api.example.com/v1/*`. `is_private` allows that the name of the host has a private
    /// address. A pattern that names `localhost` or an address allows that one anyway.
    ///
    /// # Errors
    /// Returns the reason why the text is no grant.
    pub fn parse(text: &str, is_private: bool) -> Result<Self, GrantError> {
        let (base, is_prefix) = match text.strip_suffix("/*") {
            Some(_) => (&text[..text.len() - 1], true),
            None => (text, false),
        };
        if base.contains('?') {
            return Err(GrantError::Query);
        }
        if base.contains('*') {
            return Err(GrantError::Asterisk);
        }
        let target = Target::parse(base).map_err(GrantError::Target)?;
        let addresses = match target.host() {
            Host::Ipv4(address) => AddressRule::Exactly(IpAddr::V4(address)),
            Host::Ipv6(address) => AddressRule::Exactly(IpAddr::V6(address)),
            Host::Domain(_) if is_private => AddressRule::Private,
            Host::Domain(name) if is_localhost(name) => AddressRule::Loopback,
            Host::Domain(_) => AddressRule::Public,
        };
        Ok(Self { target, is_prefix, addresses })
    }

    /// Whether the grant allows a URL.
    #[must_use]
    pub fn matches(&self, target: &Target) -> bool {
        if !self.target.has_same_origin(target) {
            return false;
        }
        if self.is_prefix { target.path().starts_with(self.target.path()) } else { target.path() == self.target.path() }
    }

    /// The scheme, host and port, as a URL.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The addresses that the grant allows.
    #[must_use]
    pub fn addresses(&self) -> AddressRule {
        self.addresses
    }
}

/// Names that stand for this machine by RFC 6761.
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.target.as_str(), if self.is_prefix { "*" } else { "" })
    }
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(error) => error.fmt(f),
            Self::Asterisk => f.write_str("an asterisk may only be the last segment of the path, as in `/v1/*`"),
            Self::Query => f.write_str("a grant has no query: it allows every query"),
        }
    }
}

impl std::error::Error for GrantError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_matches_the_parsed_url() {
        let cases = [
            ("https://api.example.com/v1/*", "https://api.example.com/v1/users", true),
            ("https://api.example.com/v1/*", "https://API.example.com:443/v1/users?id=1", true),
            ("https://api.example.com/v1/*", "https://api.example.com/v1/", true),
            ("https://api.example.com/v1/*", "https://api.example.com/v1//x", true),
            ("https://api.example.com/v1/*", "https://api.example.com/v1", false),
            ("https://api.example.com/v1/*", "https://api.example.com/v10/users", false),
            ("https://api.example.com/v1/*", "https://api.example.com/V1/users", false),
            ("https://api.example.com/v1/*", "https://api.example.com/%761/users", false),
            ("https://api.example.com/v1/*", "https://api.example.com/?/v1/users", false),
            ("https://api.example.com/v1/*", "http://api.example.com/v1/users", false),
            ("https://api.example.com/v1/*", "http://api.example.com:443/v1/users", false),
            ("https://api.example.com/v1/*", "https://api.example.com:8443/v1/users", false),
            ("https://api.example.com/v1/*", "https://api.example.com./v1/users", false),
            ("https://api.example.com/v1/*", "https://api.example.com.evil.example/v1/users", false),
            ("https://api.example.com/v1/*", "https://evil.example/https://api.example.com/v1/users", false),
            ("https://api.example.com/v1/*", "https://x.api.example.com/v1/users", false),
            ("https://api.example.com/v1/*", "https://аpi.example.com/v1/users", false), // a Cyrillic letter
            ("https://api.example.com/me", "https://api.example.com/me", true),
            ("https://api.example.com/me", "https://api.example.com/me?fields=name", true),
            ("https://api.example.com/me", "https://api.example.com/me/", false),
            ("https://api.example.com/me", "https://api.example.com/me2", false),
            ("https://api.example.com", "https://api.example.com/", true),
            ("https://api.example.com", "https://api.example.com/x", false),
            ("https://api.example.com/*", "https://api.example.com/", true),
            ("https://bücher.example/*", "https://xn--bcher-kva.example/x", true),
            ("http://127.0.0.1:8080/*", "http://0x7f000001:8080/x", true),
            ("http://127.0.0.1:8080/*", "http://localhost:8080/x", false),
        ];
        for (grant, url, is_allowed) in cases {
            let grant = Grant::parse(grant, false).unwrap();
            assert_eq!(grant.matches(&Target::parse(url).unwrap()), is_allowed, "{grant} {url}");
        }
    }

    #[test]
    fn a_text_that_is_no_grant_is_refused() {
        let cases = [
            ("https://*.example.com/", GrantError::Asterisk),
            ("https://*/", GrantError::Asterisk),
            ("*", GrantError::Asterisk),
            ("https://a.example/v1*", GrantError::Asterisk),
            ("https://a.example/*/x", GrantError::Asterisk),
            ("https://a.example/x?y=*", GrantError::Query),
            ("https://a.example/x?y=1", GrantError::Query),
            ("a.example/*", GrantError::Target(TargetError::Invalid)),
            ("ws://a.example/*", GrantError::Target(TargetError::Scheme)),
            ("https://user@a.example/*", GrantError::Target(TargetError::UserInfo)),
            ("https://a.example/../*", GrantError::Target(TargetError::DotSegment)),
        ];
        for (text, error) in cases {
            assert_eq!(Grant::parse(text, false), Err(error), "{text}");
        }
    }

    #[test]
    fn a_grant_allows_private_addresses_only_if_it_says_so() {
        let rule = |text: &str, is_private| Grant::parse(text, is_private).unwrap().addresses();
        assert_eq!(rule("https://a.example/*", false), AddressRule::Public);
        assert_eq!(rule("https://a.example/*", true), AddressRule::Private);
        assert_eq!(rule("http://localhost:4000/*", false), AddressRule::Loopback);
        assert_eq!(rule("http://api.localhost/*", false), AddressRule::Loopback);
        assert_eq!(rule("http://notlocalhost/*", false), AddressRule::Public);
        assert_eq!(rule("http://10.0.0.1/*", false), AddressRule::Exactly([10, 0, 0, 1].into()));
    }
}
