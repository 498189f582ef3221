//! Which pages may connect: `check_origin`, as in Phoenix.
//!
//! A browser sends the origin of the page that connects in the header `Origin`. It sends the user's cookies for pages of any
//! origin, so the origin has to be checked. Programs that aren't browsers send no `Origin`, and are never refused for that.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::OriginPattern;
use super::origin::Origin;

/// The pages that may connect. In a configuration:
///
/// | value | pages that may connect |
/// | --- | --- |
/// | `true` | pages of the configured host, at any scheme and port; without one, of the host that the request was sent to |
/// | `false` | all |
/// | `"conn"` | pages of exactly the scheme, host and port that the request was sent to |
/// | `["https://example.com", "//*.example.com:8443"]` | pages that fit one of the patterns; see [`OriginPattern`] |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// `false`.
    Any,
    /// `true`, with the configured host. Without a configured host, an attacker's domain that resolves to this server's
    /// address is accepted too. So a server that isn't public should have a configured host.
    Host(Option<Box<str>>),
    /// `"conn"`.
    Same,
    /// A list.
    Listed(Box<[OriginPattern]>),
}

/// The scheme and host that a request was sent to.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// `http` or `https`, as the client sees it.
    pub scheme: &'a str,
    /// The `Host` header: a host, and a port if it isn't the scheme's default. None if the header is missing.
    pub authority: Option<&'a str>,
}

impl Default for Origins {
    /// `true`, as in Phoenix.
    fn default() -> Self {
        Self::Host(None)
    }
}

impl Origins {
    /// Sets the host for `true`. Other values stay unchanged.
    #[must_use]
    pub fn at_host(self, host: &str) -> Self {
        match self {
            Self::Host(_) => Self::Host(Some(host.into())),
            other => other,
        }
    }

    /// Whether a request may connect, by its `Origin` header and the site that it was sent to.
    ///
    /// A request without the header may connect. A header without a host, such as `null`, is refused, except with `false`. For
    /// a header that isn't text, pass an empty string.
    #[must_use]
    pub fn allow(&self, origin: Option<&str>, site: Site<'_>) -> bool {
        let Some(origin) = origin else { return true };
        if *self == Self::Any {
            return true;
        }
        let Some(origin) = Origin::parse(origin) else { return false };
        let own = || Origin::of_site(site.scheme, site.authority?);
        match self {
            Self::Any => true,
            Self::Host(Some(host)) => origin.host.eq_ignore_ascii_case(host),
            Self::Host(None) => own().is_some_and(|own| own.host == origin.host),
            Self::Same => own().is_some_and(|own| own == origin),
            Self::Listed(patterns) => patterns.iter().any(|pattern| pattern.fits(&origin)),
        }
    }
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Origins;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, \"conn\" or a list such as [\"https://example.com\", \"//*.example.com\"]")
    }

    fn visit_bool<E>(self, checked: bool) -> Result<Origins, E> {
        Ok(if checked { Origins::Host(None) } else { Origins::Any })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Origins, E> {
        match text {
            "conn" => Ok(Origins::Same),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Origins, A::Error> {
        let mut patterns = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            patterns.push(OriginPattern::parse(&text).map_err(A::Error::custom)?);
        }
        Ok(Origins::Listed(patterns.into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SITE: Site<'_> = Site { scheme: "http", authority: Some("chat.example.com:4000") };

    fn listed(patterns: &[&str]) -> Origins {
        Origins::Listed(patterns.iter().map(|text| OriginPattern::parse(text).unwrap()).collect())
    }

    #[test]
    fn pages_are_allowed_as_in_phoenix() {
        let host = Origins::default().at_host("example.com");
        let own = Origins::default();
        let list =
            listed(&["https://a.com", "//b.com:8888", "//c.com", "//*.w.com", "app://local", "https://[::1]:4000"]);
        let cases = [
            (&Origins::Any, "https://evil.com", true),
            (&Origins::Any, "null", true),
            (&Origins::Any, "", true),
            (&host, "https://example.com", true),
            (&host, "http://EXAMPLE.com:9000", true),
            (&host, "https://www.example.com", false),
            (&host, "https://example.com.evil.com", false),
            (&host, "https://chat.example.com", false),
            (&own, "http://chat.example.com:4000", true),
            (&own, "https://chat.example.com", true),
            (&own, "https://example.com", false),
            (&Origins::Same, "http://chat.example.com:4000", true),
            (&Origins::Same, "https://chat.example.com:4000", false),
            (&Origins::Same, "http://chat.example.com", false),
            (&Origins::Same, "http://chat.example.com:4001", false),
            (&list, "https://a.com", true),
            (&list, "https://a.com:443", true),
            (&list, "https://a.com:444", false),
            (&list, "http://a.com", false),
            (&list, "http://b.com:8888", true),
            (&list, "https://b.com:8888", true),
            (&list, "https://b.com", false),
            (&list, "http://c.com:1", true),
            (&list, "https://w.com", true),
            (&list, "https://x.w.com:8443", true),
            (&list, "https://y.x.w.com", true),
            (&list, "https://notw.com", false),
            (&list, "https://w.com.evil.com", false),
            (&list, "app://local", true),
            (&list, "app://other", false),
            (&list, "https://[::1]:4000", true),
            (&list, "https://[::2]:4000", false),
            (&listed(&[]), "https://a.com", false),
        ];
        for (origins, origin, expected) in cases {
            assert_eq!(origins.allow(Some(origin), SITE), expected, "{origin} by {origins:?}");
        }
    }

    #[test]
    fn a_request_without_an_origin_may_connect() {
        for origins in [Origins::Any, Origins::default(), Origins::Same, listed(&[])] {
            assert!(origins.allow(None, SITE), "{origins:?}");
        }
    }

    #[test]
    fn an_origin_without_a_host_is_refused() {
        let odd = ["null", "", "file://", "chat.example.com", "//", "http://", "http://:4000", "http://a b", "data:x"];
        let deceiving =
            ["http://chat.example.com:4000@evil.com", "http://evil.com/chat.example.com", "http://a:b:4000"];
        for origins in [Origins::default(), Origins::Same, listed(&["//*.com"])] {
            for origin in odd {
                assert!(!origins.allow(Some(origin), SITE), "{origin} by {origins:?}");
            }
        }
        for origin in deceiving {
            assert!(!Origins::default().allow(Some(origin), SITE), "{origin}");
        }
        let nowhere = Site { scheme: "http", authority: None };
        assert!(!Origins::default().allow(Some("http://a.com"), nowhere), "there is nothing to compare with");
    }

    #[test]
    fn the_default_port_may_be_left_out() {
        for (scheme, authority, origin) in [
            ("https", "a.com", "https://a.com:443"),
            ("http", "a.com:80", "http://a.com"),
            ("http", "[::1]", "http://[::1]:80"),
        ] {
            let site = Site { scheme, authority: Some(authority) };
            assert!(Origins::Same.allow(Some(origin), site), "{origin}");
        }
    }

    #[test]
    fn a_configuration_may_have_four_kinds_of_values() {
        #[derive(Debug, serde::Deserialize)]
        struct Table {
            check_origin: Origins,
        }
        let parse = |value: &str| {
            let text = format!("check_origin = {value}");
            toml::from_str::<Table>(&text).map(|table| table.check_origin).map_err(|error| error.to_string())
        };
        assert_eq!(parse("true"), Ok(Origins::Host(None)));
        assert_eq!(parse("false"), Ok(Origins::Any));
        assert_eq!(parse("\"conn\""), Ok(Origins::Same));
        assert_eq!(parse("[\"//a.com\"]"), Ok(listed(&["//a.com"])));
        for (value, words) in [
            ("\"https://a.com\"", "a list such as"),
            ("1", "true, false, \"conn\" or a list"),
            ("[\"a.com\"]", "`a.com` names no host"),
            ("[1]", "string"),
        ] {
            assert!(parse(value).is_err_and(|error| error.contains(words)), "{value}: {:?}", parse(value));
        }
    }
}
