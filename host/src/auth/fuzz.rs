//! Fuzz targets of authentication: see `crate::fuzz`.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::term::{Term, read};
use super::{
    ApiKeyHash, Derivation, Jwt, JwtRules, KeySet, Leeway, MaxAge, OriginPattern, Origins, Secret, Site, Tokens,
    without_api_keys,
};

const SECRET: &[u8] = b"a secret of the fuzz targets only, longer than 32 bytes";

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| Tokens::new(Secret::new(SECRET)).expect("it is long enough"));
static JWT: LazyLock<Jwt> =
    LazyLock::new(|| Jwt::new(KeySet::shared(&[Secret::new(SECRET)]).expect("it is long enough"), JwtRules::default()));

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_750_000_000)
}

/// The text of a token. Nobody can sign one without the secret.
pub(crate) fn token(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (derivation, leeway) = (Derivation::of("salt"), Leeway::both(60));
    let verified = TOKENS.verify(&derivation, Some(text), Some(MaxAge::Infinity), leeway, now());
    assert!(verified.is_err(), "{text} is valid");
    assert!(JWT.verify(Some(text), now()).is_err(), "{text} is valid");
    text.split('.').count() == 3
}

/// The content of a token that was signed with the right secret: an Erlang term. Its data is signed and read again unchanged.
pub(crate) fn token_payload(bytes: &[u8]) -> bool {
    fn size(term: &Term<'_>) -> usize {
        1 + match term {
            Term::List(terms) | Term::Tuple(terms) => terms.iter().map(size).sum(),
            Term::Map(pairs) => pairs.iter().map(|(key, value)| size(key) + size(value)).sum(),
            Term::Atom(_) | Term::Integer(_) | Term::Float(_) | Term::Binary(_) => 0,
        }
    }
    let Some(term) = read(bytes) else { return false };
    assert!(size(&term) <= bytes.len(), "a term is no larger than its bytes");
    let (derivation, leeway) = (Derivation::of("salt"), Leeway::both(60));
    let token = TOKENS.signed(&derivation, bytes);
    let verified = TOKENS.verify(&derivation, Some(&token), Some(MaxAge::Infinity), leeway, now());
    // Its own age may be anything.
    let _ = TOKENS.verify(&derivation, Some(&token), None, leeway, now());
    let Ok(data) = verified else { return false };
    let Ok(again) = TOKENS.sign(&derivation, &data, MaxAge::Infinity, now()) else { return false };
    assert_eq!(TOKENS.verify(&derivation, Some(&again), None, leeway, now()), Ok(data));
    true
}

/// The header of a JSON Web Token in the first line, and its claims in the rest, signed with the right secret.
pub(crate) fn jwt(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (header, claims) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("a key of any length");
    mac.update(message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    let Ok(claims) = JWT.verify(Some(&token), now()) else { return false };
    assert!(claims.get("exp").is_some_and(|exp| exp.as_f64().is_some()), "a token without an end is never valid");
    let later = now() + Duration::from_secs(1 << 40);
    let is_far = claims["exp"].as_f64().is_some_and(|exp| exp > 1e12);
    assert!(is_far || JWT.verify(Some(&token), later).is_err(), "a token ends");
    true
}

/// A set of keys, or one in PEM.
pub(crate) fn jwks(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let read = if text.trim_start().starts_with('{') { KeySet::jwks(text) } else { KeySet::pem(text) };
    let Ok(keys) = read else { return false };
    assert!((1..=100).contains(&keys.count()), "{} keys", keys.count());
    let jwt = Jwt::new(keys, JwtRules::default());
    assert!(jwt.verify(Some("e30.e30.e30"), now()).is_err());
    true
}

/// Three lines: a pattern of `check_origin`, an `Origin`, and a `Host`. The text is also read as the hash of an API key.
pub(crate) fn origin(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut lines = text.split('\n');
    let (pattern, origin, host) = (lines.next().unwrap_or_default(), lines.next(), lines.next());
    let site = Site { scheme: "https", authority: host };
    for origins in [Origins::Host(None), Origins::Same] {
        if origins.allow(origin, site) {
            assert!(origins.allow(origin.map(str::to_ascii_lowercase).as_deref(), site), "case doesn't matter");
        }
    }
    if let Ok(hash) = pattern.parse::<ApiKeyHash>() {
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }
    let shown = without_api_keys(text);
    assert_eq!(without_api_keys(&shown), shown, "nothing is left to hide");
    let Ok(pattern) = OriginPattern::parse(pattern) else { return false };
    let _ = Origins::Listed([pattern].into()).allow(origin, site);
    true
}
