//! What one plugin may ask for: its grants and the headers with secrets that the host adds for it.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::address::AddressRule;
use crate::grant::Grant;
use crate::limits::{HEADER_BYTES_MAX, HEADERS_MAX, OutboundLimits};
use crate::request::{Checked, Request, is_reserved};
use crate::secrets::SecretHeaders;
use crate::signature::SigningKeys;
use crate::target::{Target, TargetError};
use crate::web_push::{PushKeys, VapidKey};

/// What one plugin may ask for.
#[derive(Clone, Debug, Default)]
pub struct Access {
    name: Arc<str>,
    grants: Vec<Grant>,
    secrets: Vec<SecretHeaders>,
    signing: Vec<SigningKeys>,
    web_push: Option<Arc<VapidKey>>,
}

/// The reason why a request isn't sent: a mistake of the code that asks, or a missing grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The URL breaks a rule.
    Target(TargetError),
    /// No grant matches the URL. The text is the URL without its query.
    NotGranted(String),
    /// The text is no method, or `CONNECT` or `TRACE`.
    Method(String),
    /// The text is no name of a header, or its value has a character that isn't allowed.
    Header(String),
    /// The client makes this header itself.
    ReservedHeader(String),
    /// The configuration sets this header.
    SecretHeader(String),
    /// There are too many headers, or their bytes are too many.
    Headers,
    /// The body has more bytes than this limit.
    Body(usize),
}

impl Access {
    /// The access of the plugin `name`.
    #[must_use]
    pub fn new(name: &str, grants: Vec<Grant>, secrets: Vec<SecretHeaders>) -> Self {
        Self { name: name.into(), grants, secrets, signing: Vec::new(), web_push: None }
    }

    /// The same access, with keys by which deliveries are signed.
    #[must_use]
    pub fn with_signing(self, signing: Vec<SigningKeys>) -> Self {
        Self { signing, ..self }
    }

    /// The same access, with a key by which the sender of push messages identifies itself.
    #[must_use]
    pub fn with_web_push(self, key: VapidKey) -> Self {
        Self { web_push: Some(Arc::new(key)), ..self }
    }

    /// Whether push messages can be sent.
    #[must_use]
    pub fn has_web_push(&self) -> bool {
        self.web_push.is_some()
    }

    /// The plugin's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether there is no grant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty()
    }

    /// Checks a request against the rules and the grants.
    ///
    /// # Errors
    /// Returns the reason why the request isn't sent.
    pub fn check(&self, request: &Request, limits: &OutboundLimits) -> Result<Checked, Refused> {
        let target = Target::parse(&request.url).map_err(Refused::Target)?;
        if self.addresses(&target).is_none() {
            return Err(Refused::NotGranted(without_query(&target)));
        }
        if request.body.len() > limits.sent_bytes {
            return Err(Refused::Body(limits.sent_bytes));
        }
        let method = method(&request.method)?;
        let headers = self.headers(request, &target)?;
        let (body, timeout) = (request.body.clone(), request.timeout);
        Ok(Checked { method, target, headers, body, timeout, at_most_once: false })
    }

    /// The addresses that the grants allow for a URL. `None` if no grant matches it.
    pub(crate) fn addresses(&self, target: &Target) -> Option<AddressRule> {
        let rules = || self.grants.iter().filter(|grant| grant.matches(target)).map(Grant::addresses);
        // Grants of one host can differ only in whether they allow private addresses.
        rules().find(|rule| *rule != AddressRule::Public).or_else(|| rules().next())
    }

    /// The headers with secrets for a URL.
    pub(crate) fn secrets(&self, target: &Target) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.secrets.iter().flat_map(|secret| secret.of(target))
    }

    /// Adds the headers of a delivery: its id, the time of this attempt in seconds since 1970, and the signatures, if there are keys for
    /// the origin of the URL. They are those of Standard Webhooks.
    pub fn identify(&self, request: &mut Checked, id: &str, seconds: u64) {
        request.set("webhook-id", id);
        request.set("webhook-timestamp", &seconds.to_string());
        let keys = self.signing.iter().find(|keys| keys.is_for(&request.target));
        if let Some(keys) = keys {
            let signatures = keys.sign(id, seconds, &request.body);
            request.set("webhook-signature", &signatures);
        }
    }

    /// Encrypts the body for a browser, and identifies the sender to its push service. `ttl` is the time in seconds for which the
    /// push service keeps the message, unless the caller has set it.
    ///
    /// # Errors
    /// If the body is too long, the keys of the browser are invalid, or there is no key of the sender.
    pub fn encrypt(&self, request: &mut Checked, keys: &PushKeys, seconds: u64, ttl: u64) -> Result<(), String> {
        let sender = self.web_push.as_ref().ok_or("there is no key of the sender")?;
        request.body = keys.encrypt(&request.body)?.into();
        let authorization = sender.authorization(&request.target, seconds).ok_or("the sender's key can't sign")?;
        request.set("authorization", &authorization);
        request.set("content-encoding", "aes128gcm");
        if request.header("ttl").is_none() {
            request.set("ttl", &ttl.to_string());
        }
        Ok(())
    }

    fn headers(&self, request: &Request, target: &Target) -> Result<HeaderMap, Refused> {
        let bytes: usize = request.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        if request.headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
            return Err(Refused::Headers);
        }
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 4);
        for (name, value) in &request.headers {
            let parsed = HeaderName::try_from(name.as_str()).map_err(|_| Refused::Header(printable(name)))?;
            if is_reserved(&parsed) {
                return Err(Refused::ReservedHeader(parsed.to_string()));
            }
            if self.secrets(target).any(|(secret, _)| *secret == parsed) {
                return Err(Refused::SecretHeader(parsed.to_string()));
            }
            let value = HeaderValue::try_from(value.as_str()).map_err(|_| Refused::Header(printable(name)))?;
            headers.append(parsed, value);
        }
        Ok(headers)
    }
}

fn method(text: &str) -> Result<Method, Refused> {
    let refused = || Refused::Method(printable(text));
    // A method in lower case would be another one to most servers.
    if !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(refused());
    }
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) | Err(_) => Err(refused()),
        Ok(method) => Ok(method),
    }
}

/// The start of a text that a plugin gave, for an error.
fn printable(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}

fn without_query(target: &Target) -> String {
    let whole = target.as_str();
    whole.split('?').next().unwrap_or_default().to_owned()
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(error) => error.fmt(f),
            Self::NotGranted(url) => write!(f, "requests to `{url}` aren't granted"),
            Self::Method(method) => write!(f, "`{method}` is no method that may be used; give one such as `GET`"),
            Self::Header(name) => write!(f, "the header `{name}` has a name or a value that HTTP doesn't allow"),
            Self::ReservedHeader(name) => write!(f, "the header `{name}` is made by the host; leave it out"),
            Self::SecretHeader(name) => {
                write!(f, "the header `{name}` is set by the configuration of this plugin; leave it out")
            }
            Self::Headers => {
                write!(f, "a request may have {HEADERS_MAX} headers with {HEADER_BYTES_MAX} bytes together")
            }
            Self::Body(limit) => write!(f, "the body of a request has more than {limit} bytes"),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn access() -> Access {
        let grant = |text: &str| Grant::parse(text, false).unwrap();
        let secret = SecretHeaders::new("https://a.example", [("authorization", "Bearer s")]).unwrap();
        Access::new("chat", vec![grant("https://a.example/v1/*"), grant("https://b.example/*")], vec![secret])
    }

    fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Request { method: method.into(), url: url.into(), headers, body: Bytes::new(), timeout: None }
    }

    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Refused);

    #[test]
    fn a_request_is_checked() {
        let limits = OutboundLimits { sent_bytes: 4, ..OutboundLimits::default() };
        let check = |request: &Request| access().check(request, &limits).map(drop);
        assert_eq!(check(&request("GET", "https://a.example/v1/x?y", &[("accept", "text/html")])), Ok(()));
        assert_eq!(check(&request("PATCH", "https://b.example/", &[("Authorization", "mine")])), Ok(()));
        let cases: [Case<'_>; 12] = [
            ("GET", "https://a.example/x?token=1", &[], Refused::NotGranted("https://a.example/x".into())),
            ("GET", "https://c.example/", &[], Refused::NotGranted("https://c.example/".into())),
            ("GET", "https://a.example/v1/../x", &[], Refused::Target(TargetError::DotSegment)),
            ("get", "https://b.example/", &[], Refused::Method("get".into())),
            ("CONNECT", "https://b.example/", &[], Refused::Method("CONNECT".into())),
            ("TRACE", "https://b.example/", &[], Refused::Method("TRACE".into())),
            ("GET /x HTTP/1.1\r\n", "https://b.example/", &[], Refused::Method("GET /x HTTP/1.1\\r\\n".into())),
            ("GET", "https://b.example/", &[("x", "a\r\ny: b")], Refused::Header("x".into())),
            ("GET", "https://b.example/", &[("x\r\ny", "b")], Refused::Header("x\\r\\ny".into())),
            ("GET", "https://b.example/", &[("Host", "c.example")], Refused::ReservedHeader("host".into())),
            ("GET", "https://b.example/", &[("proxy-x", "y")], Refused::ReservedHeader("proxy-x".into())),
            ("GET", "https://a.example/v1/", &[("Authorization", "x")], Refused::SecretHeader("authorization".into())),
        ];
        for (method, url, headers, refused) in cases {
            assert_eq!(check(&request(method, url, headers)), Err(refused), "{method} {url}");
        }
        let many: Vec<_> = (0..=HEADERS_MAX).map(|_| ("x", "y")).collect();
        assert_eq!(check(&request("GET", "https://b.example/", &many)), Err(Refused::Headers));
        let long = "x".repeat(HEADER_BYTES_MAX);
        assert_eq!(check(&request("GET", "https://b.example/", &[("x", &long)])), Err(Refused::Headers));
        let large = Request { body: "12345".into(), ..request("POST", "https://b.example/", &[]) };
        assert_eq!(check(&large), Err(Refused::Body(4)));
    }

    #[test]
    fn without_a_grant_nothing_is_allowed() {
        let refused = Access::default().check(&request("GET", "https://a.example/", &[]), &OutboundLimits::default());
        assert!(matches!(refused, Err(Refused::NotGranted(_))));
    }

    #[test]
    fn of_two_grants_for_a_url_the_one_with_private_addresses_counts() {
        let grants = vec![
            Grant::parse("https://a.example/*", false).unwrap(),
            Grant::parse("https://a.example/in/*", true).unwrap(),
        ];
        let access = Access::new("p", grants, Vec::new());
        let rule = |url: &str| access.addresses(&Target::parse(url).unwrap());
        assert_eq!(rule("https://a.example/in/x"), Some(AddressRule::Private));
        assert_eq!(rule("https://a.example/x"), Some(AddressRule::Public));
        assert_eq!(rule("https://b.example/x"), None);
    }
}
