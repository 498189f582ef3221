//! Headers with secrets, which the host adds to requests.

use std::fmt;

use http::{HeaderName, HeaderValue};

use crate::grant::Grant;
use crate::request::is_reserved;
use crate::target::Target;

/// The headers that the host adds to each request to one origin. Nothing prints their values.
#[derive(Clone)]
pub struct SecretHeaders {
    origin: Target,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl SecretHeaders {
    /// Returns the headers of an origin, such as `https://api.example.com`.
    ///
    /// # Errors
    /// Returns what is wrong with the origin, a name or a value. The text has no value.
    pub fn new<'a>(origin: &str, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let target = Target::parse(origin).map_err(|error| format!("`{origin}`: {error}"))?;
        if !target.is_origin() || origin.ends_with(['/', '?']) {
            return Err(format!("`{origin}` must be only a scheme, a host and perhaps a port"));
        }
        let parse = |(name, value): (&str, &str)| {
            let parsed = HeaderName::try_from(name).map_err(|_| format!("`{name}` is no name of a header"))?;
            if is_reserved(&parsed) {
                return Err(format!("the header `{name}` is made by the host itself"));
            }
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                format!("the value of the header `{name}` has a line break or another control character")
            })?;
            value.set_sensitive(true);
            Ok((parsed, value))
        };
        let headers = headers.into_iter().map(parse).collect::<Result<_, String>>()?;
        Ok(Self { origin: target, headers })
    }

    /// Whether a URL that a grant allows gets the headers.
    #[must_use]
    pub fn is_for(&self, grant: &Grant) -> bool {
        self.origin.has_same_origin(grant.target())
    }

    /// Returns the headers for a URL: none if the URL has another origin.
    pub(crate) fn of(&self, target: &Target) -> &[(HeaderName, HeaderValue)] {
        if self.origin.has_same_origin(target) { &self.headers } else { &[] }
    }
}

impl fmt::Debug for SecretHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.headers.iter().map(|(name, _)| name.as_str());
        write!(f, "SecretHeaders({}: ", self.origin.as_str())?;
        f.debug_list().entries(names).finish()?;
        f.write_str(")")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_belongs_to_one_origin_and_is_never_shown() {
        let secret = SecretHeaders::new("https://api.example.com", [("authorization", "Bearer hunter2")]).unwrap();
        let count = |url: &str| secret.of(&Target::parse(url).unwrap()).len();
        assert_eq!(count("https://api.example.com/v1?x"), 1);
        for other in ["http://api.example.com/", "https://api.example.com:444/", "https://example.com/"] {
            assert_eq!(count(other), 0, "{other}");
        }
        assert_eq!(format!("{secret:?}"), "SecretHeaders(https://api.example.com/: [\"authorization\"])");
    }

    #[test]
    fn what_is_no_header_of_an_origin_is_refused_without_its_value() {
        let cases = [
            ("https://a.example/v1", "x-key", "hunter2"),
            ("https://a.example/", "x-key", "hunter2"),
            ("https://a.example/*", "x-key", "hunter2"),
            ("a.example", "x-key", "hunter2"),
            ("https://a.example", "x key", "hunter2"),
            ("https://a.example", "host", "hunter2"),
            ("https://a.example", "x-key", "hunter2\r\nx: y"),
        ];
        for (origin, name, value) in cases {
            let error = SecretHeaders::new(origin, [(name, value)]).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
