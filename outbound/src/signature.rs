//! Signatures of deliveries, as Standard Webhooks defines them: the receiver finds out that a delivery comes from this host, and that
//! nobody has changed it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::grant::Grant;
use crate::target::Target;

/// The start of a secret's text.
const PREFIX: &str = "whsec_";

/// The most secrets of one origin: the present one, and another one while the secret is changed.
const SECRETS_MAX: usize = 2;

/// The keys that sign the deliveries to one origin. Nothing prints them.
#[derive(Clone)]
pub struct SigningKeys {
    origin: Target,
    keys: Vec<Vec<u8>>,
}

impl SigningKeys {
    /// Returns the keys for an origin, such as `https://api.example.com`. A secret is `whsec_` and the base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// Returns what is wrong with the origin or a secret. The text has no secret.
    pub fn new<'a>(origin: &str, secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let target = Target::parse(origin).map_err(|error| format!("`{origin}`: {error}"))?;
        if !target.is_origin() || origin.ends_with(['/', '?']) {
            return Err(format!("`{origin}` must be only a scheme, a host and perhaps a port"));
        }
        let keys = secrets.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() || keys.len() > SECRETS_MAX {
            return Err(format!("there are {} secrets for `{origin}`; 1 or {SECRETS_MAX} are allowed", keys.len()));
        }
        Ok(Self { origin: target, keys })
    }

    /// Whether a URL that a grant allows gets signatures.
    #[must_use]
    pub fn is_for_grant(&self, grant: &Grant) -> bool {
        self.origin.has_same_origin(grant.target())
    }

    /// Whether deliveries to a URL are signed by these keys.
    pub(crate) fn is_for(&self, target: &Target) -> bool {
        self.origin.has_same_origin(target)
    }

    /// Returns the value of the header `webhook-signature`: a signature by each key.
    pub(crate) fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let signatures = self.keys.iter().filter_map(|key| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
            mac.update(format!("{id}.{seconds}.").as_bytes());
            mac.update(body);
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({}: {})", self.origin.as_str(), self.keys.len())
    }
}

fn key(secret: &str) -> Result<Vec<u8>, String> {
    let bytes = secret.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
    let bytes = bytes.filter(|bytes| (24..=64).contains(&bytes.len()));
    bytes.ok_or_else(|| {
        format!("a secret is `{PREFIX}` and the base64 of 24 to 64 random bytes: `echo {PREFIX}$(openssl rand -base64 32)` makes one")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example of the specification of Standard Webhooks.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_delivery_is_signed_as_in_the_specification() {
        let keys = SigningKeys::new("https://a.example", [SECRET]).unwrap();
        let signature = keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_make_two_signatures() {
        let keys = SigningKeys::new("https://a.example", [SECRET, OTHER]).unwrap();
        let [one, other] = [SECRET, OTHER].map(|secret| SigningKeys::new("https://a.example", [secret]).unwrap());
        let sign = |keys: &SigningKeys| keys.sign("id", 1, b"body");
        assert_eq!(sign(&keys), format!("{} {}", sign(&one), sign(&other)));
        assert_eq!(format!("{keys:?}"), "SigningKeys(https://a.example/: 2)");
    }

    #[test]
    fn what_is_no_secret_is_refused_without_its_text() {
        let cases = [
            ("https://a.example/x", vec![SECRET]),
            ("https://a.example", vec![]),
            ("https://a.example", vec![SECRET, SECRET, SECRET]),
            ("https://a.example", vec!["hunter2"]),
            ("https://a.example", vec!["whsec_hunter2"]),
            ("https://a.example", vec!["whsec_AAAA"]),
        ];
        for (origin, secrets) in cases {
            let error = SigningKeys::new(origin, secrets).unwrap_err();
            assert!(!error.contains("hunter2") && !error.contains(SECRET), "{error}");
        }
    }
}
