//! Which pages may connect: `check_origin`, as in Phoenix.
//!
//! A browser says with `Origin` whose page it is that connects, and sends the user's cookies whoever that is. Programs
//! that are no browsers send none, and are never refused for it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::OriginPattern;
use super::origin::Origin;

/// Whose pages may connect. In a configuration:
///
/// | value | allowed are pages of |
/// | --- | --- |
/// | `true` | the host that is configured, at any scheme and port; where none is, the one that the request itself was sent to |
/// | `false` | anybody |
/// | `"conn"` | the scheme, the host and the port that the request was sent to |
/// | `["https://example.com", "//*.example.com:8443"]` | whom one of the patterns fits; see [`OriginPattern`] |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// `false`.
    Any,
    /// `true`, and the host that is configured. Without one, a name that an attacker points at this server's address is
    /// as good as its own, so a server that isn't public should be given one.
    Host(Option<Box<str>>),
    /// `"conn"`.
    Same,
    /// A list.
    Listed(Box<[OriginPattern]>),
}

/// What a request was sent to.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// `http` or `https`, as the client sees it.
    pub scheme: &'a str,
    /// The `Host` header: a host, with a port if it isn't the scheme's own. None where there is no such header.
    pub authority: Option<&'a str>,
}

impl Default for Origins {
    /// `true`, as in Phoenix.
    fn default() -> Self {
        Self::Host(None)
    }
}

impl Origins {
    /// With the host that `true` stands for; the others stay as they are.
    #[must_use]
    pub fn at_host(self, host: &str) -> Self {
        match self {
            Self::Host(_) => Self::Host(Some(host.into())),
            other => other,
        }
    }

    /// Whether a request may connect, by its `Origin` header and what it was sent to.
    ///
    /// Without the header it may. `null`, and whatever has no host, may not, unless anybody may; a header that isn't even
    /// text is to be given as an empty one.
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
    fn who_sends_no_origin_is_no_browser() {
        for origins in [Origins::Any, Origins::default(), Origins::Same, listed(&[])] {
            assert!(origins.allow(None, SITE), "{origins:?}");
        }
    }

    #[test]
    fn what_has_no_host_is_refused() {
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
    fn the_schemes_own_port_needn_t_be_said() {
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
    fn a_configuration_says_it_in_four_ways() {
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
