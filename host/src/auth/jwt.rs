//! JSON Web Tokens: who signed one, and whether it is for us and for now.
//!
//! RFC 7519, with HS256, RS256, ES256 and EdDSA (Ed25519). The crate `jsonwebtoken` takes a token apart and checks its
//! signature; claims are checked here (`claims`), since `now` is a parameter. Its version 11 is what is kept up: 9, on
//! `ring`, has a hole in its checks of `exp` and `nbf` (CVE-2026-25537) that won't be closed. Of its two backends, AWS-LC
//! brings half as many crates as the pure one, in which `rsa` has an open advisory (RUSTSEC-2023-0071) and the others are
//! a generation behind; it needs a C compiler, as wasmtime does already.

use std::collections::HashSet;
use std::time::SystemTime;

use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::{KeySet, LEEWAY_SECONDS, TOKEN_BYTES_MAX, TokenError, claims};

/// What is asked of a token's claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRules {
    /// Seconds by which the clock of who signs may differ from ours. Default 60.
    pub leeway: u64,
    /// What `iss` has to be.
    pub issuer: Option<String>,
    /// What `aud` has to be, or to have among others.
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
    keys: KeySet,
    rules: JwtRules,
}

impl Jwt {
    /// With these keys and rules.
    #[must_use]
    pub fn new(keys: KeySet, rules: JwtRules) -> Self {
        Self { keys, rules }
    }

    /// The claims of a token.
    ///
    /// The algorithm is the key's own: a token that names another one (or `none`) is invalid. `exp` has to be there, since a
    /// token without it couldn't ever be withdrawn.
    ///
    /// # Errors
    /// See [`TokenError`]. A token that isn't valid yet (`nbf`), or is another's (`iss`, `aud`), is invalid.
    pub fn verify(&self, token: Option<&str>, now: SystemTime) -> Result<Map<String, Value>, TokenError> {
        let token = token.ok_or(TokenError::Missing)?;
        let claims = self.signed(token).ok_or(TokenError::Invalid)?;
        claims::check(&claims, &self.rules, now)?;
        Ok(claims)
    }

    /// The claims, if their signature is right.
    fn signed(&self, token: &str) -> Option<Map<String, Value>> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let header = decode_header(token).ok()?;
        // RFC 7515, section 4.1.11: what is critical has to be understood, and we understand nothing beyond the RFC.
        if header.crit.is_some() {
            return None;
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg)?;
        let mut only_signature = Validation::new(key.algorithm);
        only_signature.required_spec_claims = HashSet::new();
        only_signature.validate_exp = false;
        only_signature.validate_nbf = false;
        only_signature.validate_aud = false;
        decode::<Map<String, Value>>(token, &key.key, &only_signature).ok().map(|read| read.claims)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "testing/jwt.rs"]
mod tests;
