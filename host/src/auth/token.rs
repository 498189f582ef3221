//! Signs and verifies a `Phoenix.Token`. The signer and the verifier must have the same secret and salt.
//!
//! A token is `HEADER.PAYLOAD.SIGNATURE`, each part in base64url without padding. The payload is the Erlang term
//! `{data, signed_at in ms, max_age in s}`; the module `json` lists the allowed data. A token is signed and not encrypted:
//! anyone who has a token can read it. The rules are those of `Plug.Crypto.sign/4` and `verify/4`. If versions of
//! `plug_crypto` differ, the rules are those of the later one (after 2.1.1).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Sha256, Sha384, Sha512};

use super::derivation::DerivedKeys;
use super::json::{self, TooDeepOrLong};
use super::term::{self, Term};
use super::{Derivation, Leeway, Secret};

/// The maximum number of bytes of a token. A larger token isn't signed, and isn't valid.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;

/// The minimum number of bytes of a secret, as in Phoenix.
const SECRET_BYTES_MIN: usize = 20;

/// The maximum age of a valid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxAge {
    /// The number of seconds since the token was signed. With 0, the token is never valid.
    Seconds(u64),
    /// The token is valid forever.
    Infinity,
}

impl Default for MaxAge {
    /// A day, as in Phoenix.
    fn default() -> Self {
        Self::Seconds(86_400)
    }
}

/// Why a token isn't accepted. There are no more details, because the client that presents the token may see the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// There is no token.
    Missing,
    /// It isn't a token, it was changed, it was signed with another secret or salt, or it isn't valid yet.
    Invalid,
    /// It was valid, but is too old.
    Expired,
}

/// The error for a value that can't be signed: it nests deeper than 64 levels, or its token would have more than 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsignable;

/// Signs tokens with a secret, and verifies tokens that were signed with it, or with a second one. It can be used from any
/// thread.
pub struct Tokens {
    signing: TokenSecret,
    /// The second secret, while tokens that were signed with it may still be in use.
    other: Option<TokenSecret>,
}

/// A secret with the keys that were derived from it.
struct TokenSecret {
    secret: Secret,
    keys: DerivedKeys,
}

impl Tokens {
    /// Signs and verifies with this secret, such as the `secret_key_base` of a Phoenix application.
    ///
    /// # Errors
    /// Returns an error if the secret has less than 20 bytes.
    pub fn new(secret: Secret) -> anyhow::Result<Self> {
        Ok(Self { signing: TokenSecret::new(secret)?, other: None })
    }

    /// Verifies tokens that were signed with another secret, too: the former one, or the one that signers will use next.
    ///
    /// # Errors
    /// Returns an error if the secret has less than 20 bytes.
    pub fn and_verify_with(self, secret: Secret) -> anyhow::Result<Self> {
        Ok(Self { other: Some(TokenSecret::new(secret)?), ..self })
    }

    /// Signs `data` at the time `now`, and returns the token. The token is valid for `max_age`, unless the verifier uses
    /// another maximum age.
    ///
    /// # Errors
    /// See [`Unsignable`].
    pub fn sign(
        &self,
        derivation: &Derivation,
        data: &Value,
        max_age: MaxAge,
        now: SystemTime,
    ) -> Result<String, Unsignable> {
        let seconds = match max_age {
            MaxAge::Seconds(seconds) => Some(seconds),
            MaxAge::Infinity => None,
        };
        let payload = json::payload(data, milliseconds(now), seconds)?;
        let token = self.signed(derivation, &payload);
        if token.len() > TOKEN_BYTES_MAX { Err(Unsignable) } else { Ok(token) }
    }

    /// Returns the token with this payload.
    pub(super) fn signed(&self, derivation: &Derivation, payload: &[u8]) -> String {
        let mut token = format!("{}.{}", Header::Hs256.encoded(), URL_SAFE_NO_PAD.encode(payload));
        let mut mac = keyed::<Hmac<Sha256>>(&self.signing.key(derivation));
        mac.update(token.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        token.push('.');
        token.push_str(&signature);
        token
    }

    /// Verifies a token, and returns its data. `max_age` takes precedence over the token's own maximum age. Phoenix has no
    /// leeway. Without one, a new token of a machine whose clock is a little ahead would be refused.
    ///
    /// Signatures are compared in constant time, and the payload isn't parsed before its signature is verified.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(
        &self,
        derivation: &Derivation,
        token: Option<&str>,
        max_age: Option<MaxAge>,
        leeway: Leeway,
        now: SystemTime,
    ) -> Result<Value, TokenError> {
        let token = token.ok_or(TokenError::Missing)?;
        let payload = self.payload(derivation, token).ok_or(TokenError::Invalid)?;
        let signed = term::read(&payload).and_then(Signed::of).ok_or(TokenError::Invalid)?;
        signed.check_age(max_age, leeway, milliseconds(now))?;
        json::to_json(&signed.data).ok_or(TokenError::Invalid)
    }

    /// Returns the payload, if the signature is valid.
    fn payload(&self, derivation: &Derivation, token: &str) -> Option<Vec<u8>> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header = Header::parse(header)?;
        // The decoder refuses further dots, padding and unused bits, so each token has only one text.
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let message = message.as_bytes();
        let is_right = |secret: &TokenSecret| {
            let key = secret.key(derivation);
            match header {
                Header::Hs256 => is_signed::<Hmac<Sha256>>(&key, message, &signature),
                Header::Hs384 => is_signed::<Hmac<Sha384>>(&key, message, &signature),
                Header::Hs512 => is_signed::<Hmac<Sha512>>(&key, message, &signature),
            }
        };
        (is_right(&self.signing) || self.other.as_ref().is_some_and(is_right)).then_some(payload)
    }
}

impl TokenSecret {
    fn new(secret: Secret) -> anyhow::Result<Self> {
        anyhow::ensure!(
            secret.bytes().len() >= SECRET_BYTES_MIN,
            "the secret is too short: it must have at least {SECRET_BYTES_MIN} bytes; `openssl rand -base64 48` makes one"
        );
        Ok(Self { secret, keys: DerivedKeys::default() })
    }

    fn key(&self, derivation: &Derivation) -> Arc<[u8]> {
        self.keys.get(&self.secret, derivation)
    }
}

/// The content of a payload.
struct Signed<'a> {
    data: Term<'a>,
    /// Milliseconds since 1970.
    at: i128,
    max_age: Term<'a>,
}

impl<'a> Signed<'a> {
    fn of(payload: Term<'a>) -> Option<Self> {
        let a_day = Term::Integer(86_400);
        let (data, at, max_age) = match payload {
            Term::Tuple(elements) => {
                let mut elements = elements.into_iter();
                match (elements.next()?, elements.next()?, elements.next(), elements.next()) {
                    (data, at, max_age, None) => (data, at, max_age.unwrap_or(a_day)),
                    _ => return None,
                }
            }
            // The form in which Phoenix signed before it used `plug_crypto`.
            Term::Map(pairs) => {
                let of = |name: &str| {
                    let is = |key: &Term<'_>| matches!(key, Term::Atom(atom) if atom == name);
                    pairs.iter().find(|(key, _)| is(key)).map(|(_, value)| value.clone())
                };
                (of("data")?, of("signed")?, a_day)
            }
            _ => return None,
        };
        let Term::Integer(at) = at else { return None };
        Some(Self { data, at, max_age })
    }

    fn check_age(&self, given: Option<MaxAge>, leeway: Leeway, now: i64) -> Result<(), TokenError> {
        let max_age_ms = match (given, &self.max_age) {
            (Some(MaxAge::Infinity), _) => return Ok(()),
            (Some(MaxAge::Seconds(seconds)), _) => i128::from(seconds) * 1000,
            (None, Term::Atom(name)) if name == "infinity" => return Ok(()),
            (None, Term::Integer(seconds)) => seconds * 1000,
            // Truncated to milliseconds as by Elixir's `trunc`. A positive age that becomes 0 ms, such as 0.0001 s, doesn't
            // expire the token as an age of zero does.
            (None, Term::Float(seconds)) if *seconds > 0.0 => {
                return self.check_window((seconds * 1000.0) as i128, leeway, now.into());
            }
            (None, Term::Float(_)) => 0,
            (None, _) => return Err(TokenError::Invalid),
        };
        if max_age_ms <= 0 { Err(TokenError::Expired) } else { self.check_window(max_age_ms, leeway, now.into()) }
    }

    fn check_window(&self, max_age_ms: i128, leeway: Leeway, now: i128) -> Result<(), TokenError> {
        let milliseconds = |seconds: u64| i128::from(seconds) * 1000;
        if self.at > now + milliseconds(leeway.ahead) {
            Err(TokenError::Invalid)
        } else if self.at.saturating_add(max_age_ms).saturating_add(milliseconds(leeway.beyond)) < now {
            Err(TokenError::Expired)
        } else {
            Ok(())
        }
    }
}

/// The algorithm of a signature. Tokens are signed with the first one. The others are accepted, as in `plug_crypto`.
#[derive(Clone, Copy)]
enum Header {
    Hs256,
    Hs384,
    Hs512,
}

impl Header {
    const ALL: [Self; 3] = [Self::Hs256, Self::Hs384, Self::Hs512];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|header| header.encoded() == text)
    }

    /// Returns `HS256`, `HS384` or `HS512` in base64url.
    fn encoded(self) -> &'static str {
        match self {
            Self::Hs256 => "SFMyNTY",
            Self::Hs384 => "SFMzODQ",
            Self::Hs512 => "SFM1MTI",
        }
    }
}

fn is_signed<M: Mac + KeyInit>(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let mut mac = keyed::<M>(key);
    mac.update(message);
    // `verify_slice` compares in constant time.
    mac.verify_slice(signature).is_ok()
}

fn keyed<M: KeyInit>(key: &[u8]) -> M {
    // HMAC hashes a key that is longer than its block, and pads a shorter one.
    M::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl From<TooDeepOrLong> for Unsignable {
    fn from(_: TooDeepOrLong) -> Self {
        Self
    }
}

impl FromStr for MaxAge {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "infinity" => Ok(Self::Infinity),
            _ => text.parse().map(Self::Seconds).map_err(|_| "give whole seconds, such as 86400, or `infinity`"),
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no token",
            Self::Invalid => "the token is invalid",
            Self::Expired => "the token has expired",
        })
    }
}

impl std::error::Error for TokenError {}

impl fmt::Display for Unsignable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deepest = json::DEPTH_MAX;
        write!(f, "it nests deeper than {deepest} levels, or its token would have more than {TOKEN_BYTES_MAX} bytes")
    }
}

impl std::error::Error for Unsignable {}

impl fmt::Debug for Tokens {
    /// Shows neither the secret nor the derived keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "testing/token.rs"]
mod tests;
