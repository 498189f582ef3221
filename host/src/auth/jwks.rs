//! Reads a JSON Web Key Set (JWKS): RFC 7517.
//!
//! An identity provider publishes the set, and it may contain keys for other purposes or invalid keys. A key that can't be
//! used is skipped, and the caller gets the reason. A set is refused only if none of its keys can be used.

use anyhow::{Result, anyhow, bail, ensure};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::Key;

/// The maximum number of keys in a set.
const KEYS_MAX: usize = 100;

/// The minimum number of bits of an RSA key.
const RSA_BITS_MIN: usize = 2048;

/// The fields of a private key that its public part doesn't have. (A shared secret has only `k`, so it isn't in this list.)
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "r"];

/// The supported algorithms, for errors.
const KNOWN: &str = "RS256, ES256, EdDSA and HS256";

/// The set. Each key is parsed separately, so that an unknown type of key doesn't make the whole set unreadable.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Returns the usable keys of a set, and a sentence with the reason for each unusable key. A key for encryption
/// (`"use": "enc"`) is skipped without a reason, because it isn't a mistake.
pub(super) fn read(text: &str) -> Result<(Vec<Key>, Vec<String>)> {
    // Without serde's message, which may quote a key: a set may contain shared secrets.
    let set: Set = serde_json::from_str(text)
        .map_err(|error| anyhow!("it is not a JWKS ({{\"keys\": [..]}}); see line {}", error.line()))?;
    ensure!(set.keys.len() <= KEYS_MAX, "it has {} keys; at most {KEYS_MAX}", set.keys.len());
    let (mut keys, mut skipped): (Vec<Key>, Vec<String>) = (Vec::new(), Vec::new());
    for (at, value) in set.keys.into_iter().enumerate() {
        let shown = match value["kid"].as_str() {
            Some(name) => format!("its key `{name}`"),
            None => format!("its key number {}", at + 1),
        };
        match read_key(value) {
            Ok(None) => {}
            Ok(Some(key)) if is_double(&key, &keys) => {
                skipped.push(format!("{shown}: a key before it has the same `kid` and is for the same algorithm"));
            }
            Ok(Some(key)) => keys.push(key),
            Err(why) => skipped.push(format!("{shown}: {why}")),
        }
    }
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256] {
        let of = keys.iter().filter(|key| key.algorithm == algorithm);
        let (nameless, all) = (of.clone().filter(|key| key.name.is_none()).count(), of.count());
        if nameless > 0 && all > 1 {
            // For a token without `kid` the choice is ambiguous, and a token with `kid` can't name such a key.
            keys.retain(|key| key.algorithm != algorithm || key.name.is_some());
            skipped.push(format!(
                "its keys without a `kid` ({nameless}): it has {all} keys for {algorithm:?}, and a token must name its key"
            ));
        }
    }
    if keys.is_empty() {
        let why = if skipped.is_empty() { String::new() } else { format!(": {}", skipped.join("; ")) };
        bail!("it has no key for {KNOWN}{why}");
    }
    Ok((keys, skipped))
}

/// Whether an earlier key has the same name and the same algorithm. Keys with the same name but different algorithms are
/// allowed, because a token names its algorithm too.
fn is_double(key: &Key, keys: &[Key]) -> bool {
    key.name.is_some() && keys.iter().any(|known| known.name == key.name && known.algorithm == key.algorithm)
}

/// Parses and checks a key. Returns none if it is for encryption.
fn read_key(value: Value) -> Result<Option<Key>> {
    let Value::Object(fields) = &value else { bail!("it is not an object") };
    let text = |name: &str| fields.get(name).map(|value| value.as_str().unwrap_or_default());
    match text("use") {
        None | Some("sig") => {}
        Some("enc") => return Ok(None),
        Some(_) => bail!("its `use` isn't `sig`"),
    }
    if let Some(operations) = fields.get("key_ops") {
        let has_verify = operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
        ensure!(has_verify, "its `key_ops` don't have `verify`");
    }
    let algorithm = algorithm(fields)?;
    let is_private = algorithm != Algorithm::HS256 && PRIVATE.iter().any(|part| fields.contains_key(*part));
    ensure!(!is_private, "it is a private key, which only the signer may have; use only its public part");
    let jwk: Jwk =
        serde_json::from_value(value).map_err(|_| anyhow!("a field of it is missing, or of the wrong type"))?;
    Ok(Some(Key { name: jwk.common.key_id.clone(), algorithm, key: load(&jwk)? }))
}

/// Returns the algorithm that a key is for, by its type and curve.
fn algorithm(fields: &Map<String, Value>) -> Result<Algorithm> {
    let text = |name: &str| fields.get(name).map(|value| value.as_str().unwrap_or_default());
    let (ours, named) = match (text("kty").unwrap_or_default(), text("crv").unwrap_or_default()) {
        ("RSA", _) => (Algorithm::RS256, "RS256"),
        ("EC", "P-256") => (Algorithm::ES256, "ES256"),
        ("EC", _) => bail!("its curve isn't P-256, which ES256 requires"),
        ("OKP", "Ed25519") => (Algorithm::EdDSA, "EdDSA"),
        ("OKP", _) => bail!("its curve isn't Ed25519, which EdDSA requires"),
        ("oct", _) => (Algorithm::HS256, "HS256"),
        _ => bail!("its `kty` is none of `RSA`, `EC`, `OKP` and `oct`"),
    };
    ensure!(text("alg").is_none_or(|alg| alg == named), "its `alg` isn't `{named}`: the algorithms are {KNOWN}");
    Ok(ours)
}

fn load(jwk: &Jwk) -> Result<DecodingKey> {
    let key = DecodingKey::from_jwk(jwk)
        .map_err(|_| anyhow!("can't be read: a number of it is missing, or isn't base64url"))?;
    let (length, least, what) = match (key.kind(), &jwk.algorithm) {
        (DecodingKeyKind::RsaModulusExponent { n, .. }, _) => {
            (bits(n), RSA_BITS_MIN, "it is too weak: an RSA key must have at least 2048 bits")
        }
        (DecodingKeyKind::SecretOrDer(bytes), AlgorithmParameters::OctetKey(_)) => {
            (bytes.len(), 32, "it is too weak: a secret for HS256 must have at least 32 bytes (RFC 7518)")
        }
        (DecodingKeyKind::SecretOrDer(bytes), AlgorithmParameters::OctetKeyPair(_)) => {
            (bytes.len(), 32, "an Ed25519 key has 32 bytes")
        }
        (DecodingKeyKind::SecretOrDer(bytes), _) => (bytes.len(), 65, "a point of P-256 has two numbers of 32 bytes"),
    };
    ensure!(length >= least, "{what}");
    Ok(key)
}

/// Returns the number of bits of a big-endian number, without leading zeros.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    (number.len() - zeros) * 8 - first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_are_not_counted() {
        assert_eq!((bits(&[]), bits(&[0, 0]), bits(&[0, 1]), bits(&[1, 0]), bits(&[0x80])), (0, 0, 1, 9, 8));
    }
}
