//! A JSON Web Key Set: RFC 7517.

use anyhow::{Context, Result, anyhow, ensure};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use super::keys::Key;

/// Keys of a set at most.
const KEYS_MAX: usize = 100;

/// Each by itself, so that one of a kind that we don't know spoils nothing.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

pub(super) fn read(text: &str) -> Result<Vec<Key>> {
    // Not with serde's words: they may quote a key, and a set may hold shared ones.
    let set: Set = serde_json::from_str(text)
        .map_err(|error| anyhow!("it is no JWKS ({{\"keys\": [..]}}); see line {}", error.line()))?;
    ensure!(set.keys.len() <= KEYS_MAX, "it has {} keys; at most {KEYS_MAX}", set.keys.len());
    let mut keys: Vec<Key> = Vec::new();
    for (at, value) in set.keys.into_iter().enumerate() {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { continue };
        let Some(algorithm) = algorithm(&jwk) else { continue };
        let name = jwk.common.key_id.clone();
        let key = load(&jwk).with_context(|| match &name {
            Some(name) => format!("its key `{name}`"),
            None => format!("its key number {}", at + 1),
        })?;
        let is_known = name.is_some() && keys.iter().any(|known| known.name == name);
        ensure!(!is_known, "two of its keys have the `kid` `{}`", name.unwrap_or_default());
        keys.push(Key { name, algorithm, key });
    }
    ensure!(!keys.is_empty(), "it has no key for RS256, ES256, EdDSA or HS256");
    Ok(keys)
}

/// The algorithm that a key is for; none if it is for none of ours.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let (ours, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
        _ => return None,
    };
    jwk.common.key_algorithm.is_none_or(|found| found == named).then_some(ours)
}

fn load(jwk: &Jwk) -> Result<DecodingKey> {
    let key = DecodingKey::from_jwk(jwk).map_err(|_| anyhow!("can't be read; its numbers are base64url"))?;
    let (length, least, what) = match (key.kind(), &jwk.algorithm) {
        (DecodingKeyKind::RsaModulusExponent { n, .. }, _) => (n.len(), 256, "an RSA key has 2048 bits at least"),
        (DecodingKeyKind::SecretOrDer(bytes), AlgorithmParameters::OctetKey(_)) => {
            (bytes.len(), 32, "a secret for HS256 has 32 bytes at least (RFC 7518)")
        }
        (DecodingKeyKind::SecretOrDer(bytes), AlgorithmParameters::OctetKeyPair(_)) => {
            (bytes.len(), 32, "an Ed25519 key has 32 bytes")
        }
        (DecodingKeyKind::SecretOrDer(bytes), _) => (bytes.len(), 65, "a point of P-256 has two numbers of 32 bytes"),
    };
    ensure!(length >= least, "{what}");
    Ok(key)
}
