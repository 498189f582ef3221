//! Verifies JSON Web Tokens (RFC 7519) with HS256, RS256, ES256 and EdDSA (Ed25519).
//!
//! The crate `jsonwebtoken` parses a token and checks its signature. The module `claims` checks the claims, because `now` is a
//! parameter here. Why version 11 of the crate: version 9, which uses `ring`, has a bug in its checks of `exp` and `nbf`
//! (CVE-2026-25537) that won't be fixed. Why its backend AWS-LC: it has half as many crates as the pure Rust backend, whose
//! crate `rsa` has an open advisory (RUSTSEC-2023-0071) and whose other crates are a generation behind. AWS-LC needs a C
//! compiler, but so does wasmtime.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::keys::Key;
use super::{KeySet, LEEWAY_SECONDS, LiveKeys, TOKEN_BYTES_MAX, TokenError, claims};

/// The rules for a token's claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRules {
    /// Seconds by which the signer's clock may differ from the host's. Default 60.
    pub leeway: u64,
    /// The required value of `iss`.
    pub issuer: Option<String>,
    /// The required value of `aud`. If `aud` is a list, the list must contain it.
    pub audience: Option<String>,
}

impl Default for JwtRules {
    fn default() -> Self {
        Self { leeway: LEEWAY_SECONDS, issuer: None, audience: None }
    }
}

/// Verifies JSON Web Tokens with a set of keys.
#[derive(Clone, Debug)]
pub struct Jwt {
    keys: JwtKeys,
    rules: JwtRules,
}

/// The keys of a verifier.
#[derive(Clone, Debug)]
enum JwtKeys {
    Fixed(Arc<KeySet>),
    Live(Arc<LiveKeys>),
}

impl Jwt {
    /// Makes a verifier with these keys and rules.
    #[must_use]
    pub fn new(keys: KeySet, rules: JwtRules) -> Self {
        Self { keys: JwtKeys::Fixed(Arc::new(keys)), rules }
    }

    /// Makes a verifier with keys that may be replaced.
    #[must_use]
    pub fn live(keys: Arc<LiveKeys>, rules: JwtRules) -> Self {
        Self { keys: JwtKeys::Live(keys), rules }
    }

    /// Whether there are keys. Without keys, every token is invalid.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        match &self.keys {
            JwtKeys::Fixed(_) => true,
            JwtKeys::Live(keys) => keys.now().is_some(),
        }
    }

    /// Verifies a token, and returns its claims.
    ///
    /// The key decides the algorithm: a token that names another algorithm (or `none`) is invalid. `exp` is required, because
    /// a token without it would be valid forever.
    ///
    /// # Errors
    /// See [`TokenError`]. A token that isn't valid yet (`nbf`), or has another issuer or audience (`iss`, `aud`), is invalid.
    pub fn verify(&self, token: Option<&str>, now: SystemTime) -> Result<Map<String, Value>, TokenError> {
        let token = token.ok_or(TokenError::Missing)?;
        let claims = self.signed(token).ok_or(TokenError::Invalid)?;
        claims::check(&claims, &self.rules, now)?;
        Ok(claims)
    }

    /// Returns the claims, if the signature is valid.
    fn signed(&self, token: &str) -> Option<Map<String, Value>> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let header = decode_header(token).ok()?;
        // RFC 7515, section 4.1.11: a verifier must support all extensions in `crit`, and this one supports none.
        if header.crit.is_some() {
            return None;
        }
        let keys = match &self.keys {
            JwtKeys::Fixed(keys) => Arc::clone(keys),
            JwtKeys::Live(live) => {
                let keys = live.now()?;
                // The signer may have a new key.
                if header.kid.as_deref().is_some_and(|kid| !keys.has(kid)) {
                    live.want();
                }
                keys
            }
        };
        let mut only_signature = Validation::new(header.alg);
        only_signature.required_spec_claims = HashSet::new();
        only_signature.validate_exp = false;
        only_signature.validate_nbf = false;
        only_signature.validate_aud = false;
        let read = |key: &Key| decode::<Map<String, Value>>(token, &key.key, &only_signature).ok();
        keys.fitting(header.kid.as_deref(), header.alg).find_map(read).map(|read| read.claims)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "testing/jwt.rs"]
mod tests;
