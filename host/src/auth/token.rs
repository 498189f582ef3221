//! `Phoenix.Token`: what one side signs, the other verifies, given the same secret and salt.
//!
//! `HEADER.PAYLOAD.SIGNATURE`, each in base64url without padding. The payload is the Erlang term
//! `{data, signed_at in ms, max_age in s}`; see `json` for what data may be. It is signed and not encrypted: whoever has a
//! token can read it. The rules are those of `Plug.Crypto.sign/4` and `verify/4`, and where the two of Phoenix's versions
//! differ, those of the later one (after 2.1.1).

use std::fmt;
use std::str::FromStr;
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

/// Bytes of a token at most. Past it, none is signed, and what is presented is invalid.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Bytes of a secret at least, as in Phoenix.
const SECRET_BYTES_MIN: usize = 20;

/// For how long a token is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxAge {
    /// So many seconds from when it was signed. With 0, it never is.
    Seconds(u64),
    /// Forever.
    Infinity,
}

impl Default for MaxAge {
    /// A day, as in Phoenix.
    fn default() -> Self {
        Self::Seconds(86_400)
    }
}

/// Why a token isn't taken. It says no more, since who presents it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// There is none.
    Missing,
    /// It isn't one, it was changed, it was signed with another secret or salt, or it isn't valid yet.
    Invalid,
    /// It was valid once.
    Expired,
}

/// A value that can't be signed: it nests deeper than 64 levels, or its token would have more than 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsignable;

/// Signs and verifies with one secret, from any thread.
pub struct Tokens {
    secret: Secret,
    keys: DerivedKeys,
}

impl Tokens {
    /// With this secret, the `secret_key_base` of a Phoenix application.
    ///
    /// # Errors
    /// Where it has less than 20 bytes.
    pub fn new(secret: Secret) -> anyhow::Result<Self> {
        anyhow::ensure!(
            secret.bytes().len() >= SECRET_BYTES_MIN,
            "the secret is too short: it has at least {SECRET_BYTES_MIN} bytes; `openssl rand -base64 48` makes one"
        );
        Ok(Self { secret, keys: DerivedKeys::default() })
    }

    /// A token for `data`, signed at `now`, that is valid for `max_age` wherever it isn't verified with another one.
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
        let mut token = format!("{}.{}", Header::Hs256.encoded(), URL_SAFE_NO_PAD.encode(payload));
        let mut mac = keyed::<Hmac<Sha256>>(&self.keys.get(&self.secret, derivation));
        mac.update(token.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        token.push('.');
        token.push_str(&signature);
        if token.len() > TOKEN_BYTES_MAX { Err(Unsignable) } else { Ok(token) }
    }

    /// The data of a token. Where `max_age` is given, it stands over the one that the token says. Phoenix has no leeway; without
    /// any, a token of a machine whose clock is a little ahead would be refused at first.
    ///
    /// # Errors
    /// See [`TokenError`]. Signatures are compared in constant time, and nothing is read before its signature is right.
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

    /// The payload, if its signature is right.
    fn payload(&self, derivation: &Derivation, token: &str) -> Option<Vec<u8>> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header = Header::parse(header)?;
        // It refuses a further dot, padding, and bits that say nothing: no two texts are one token.
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = self.keys.get(&self.secret, derivation);
        let message = message.as_bytes();
        let is_right = match header {
            Header::Hs256 => is_signed::<Hmac<Sha256>>(&key, message, &signature),
            Header::Hs384 => is_signed::<Hmac<Sha384>>(&key, message, &signature),
            Header::Hs512 => is_signed::<Hmac<Sha512>>(&key, message, &signature),
        };
        is_right.then_some(payload)
    }
}

/// What was signed.
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
            // As Phoenix signed before Plug did it.
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
            // Cut as Elixir's `trunc` cuts it. 0.0001 s is no age of zero there.
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

/// What it is signed with. We sign with the first; the others are accepted, as Plug accepts them.
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

    /// `HS256` and so on, in base64url.
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
    // In constant time.
    mac.verify_slice(signature).is_ok()
}

fn keyed<M: KeyInit>(key: &[u8]) -> M {
    // HMAC hashes a key that is longer than its block, and fills up one that is shorter.
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
    /// Neither the secret nor what is derived from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "testing/token.rs"]
mod tests;
