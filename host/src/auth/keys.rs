//! The keys that verify JSON Web Tokens.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{Secret, jwks};

/// The keys that a token may be signed with. Each key has exactly one algorithm, which a token can't change.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Whether the keys come from a JWKS. A token's `kid`, if it has one, must then be the key's name.
    by_name: bool,
    /// A sentence with the reason for each key that was skipped.
    skipped: Vec<String>,
}

/// A key with its algorithm, and its name (`kid`) in a JWKS.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) name: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The maximum number of bytes of a file of keys.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The minimum number of bytes of a secret for HS256: RFC 7518, section 3.2.
const SECRET_BYTES_MIN: usize = 32;

impl KeySet {
    /// Makes a key set of secrets that are shared with the signer, for HS256. A token is valid if it was signed with one of
    /// them.
    ///
    /// # Errors
    /// Returns an error if a secret has less than 32 bytes, because a shorter one could be guessed from any token.
    pub fn shared(secrets: &[Secret]) -> Result<Self> {
        let key = |secret: &Secret| {
            let bytes = secret.bytes();
            ensure!(
                bytes.len() >= SECRET_BYTES_MIN,
                "the secret is too short: HS256 requires at least {SECRET_BYTES_MIN} bytes (RFC 7518); \
                 `openssl rand -base64 48` makes one"
            );
            Ok(Key { name: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(bytes) })
        };
        let keys = secrets.iter().map(key).collect::<Result<_>>()?;
        Ok(Self { keys, by_name: false, skipped: Vec::new() })
    }

    /// Reads a file with a public key in PEM (see [`KeySet::pem`]), or with a JWKS (see [`KeySet::jwks`]). The file has at
    /// most 1 MiB.
    ///
    /// # Errors
    /// Returns an error with the file's name and the reason.
    pub fn read(path: &Path) -> Result<Self> {
        let reading = || format!("reading the keys in {}", path.display());
        let size = std::fs::metadata(path).with_context(reading)?.len();
        ensure!(
            size <= FILE_BYTES_MAX,
            "the keys in {}: the file has more than {FILE_BYTES_MAX} bytes",
            path.display()
        );
        let text = std::fs::read_to_string(path).with_context(reading)?;
        // Some editors write a byte order mark at the start of a file.
        let text = text.trim_start_matches('\u{feff}');
        let read = if text.trim_start().starts_with('{') { Self::jwks(text) } else { Self::pem(text) };
        read.with_context(|| format!("the keys in {}", path.display()))
    }

    /// Parses a public key in PEM (`BEGIN PUBLIC KEY`): RSA with at least 2048 bits for RS256, P-256 for ES256, Ed25519 for
    /// EdDSA.
    ///
    /// # Errors
    /// Returns an error for anything else. A private key is refused, because only the signer may have it.
    pub fn pem(text: &str) -> Result<Self> {
        let label =
            text.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----")).map(|(label, _)| label);
        match label {
            Some("PUBLIC KEY" | "RSA PUBLIC KEY") => {}
            Some("CERTIFICATE") => {
                bail!("it is a certificate; extract its key with `openssl x509 -pubkey -noout`")
            }
            Some(label) if label.contains("PRIVATE KEY") => bail!(
                "it is a private key, which only the signer may have; make the public key with `openssl pkey -pubout`"
            ),
            _ => bail!("it is neither a public key in PEM (`-----BEGIN PUBLIC KEY-----`) nor a JWKS"),
        }
        let bytes = text.as_bytes();
        if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
            return Ok(Self::one(Algorithm::EdDSA, key));
        }
        if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
            // An uncompressed point of P-256 has 65 bytes.
            ensure!(
                key.try_get_as_bytes().is_ok_and(|point| point.len() == 65),
                "its curve isn't P-256, which ES256 requires"
            );
            return Ok(Self::one(Algorithm::ES256, key));
        }
        let key = DecodingKey::from_rsa_pem(bytes).map_err(|_| anyhow!("it is not a key for RS256, ES256 or EdDSA"))?;
        // The DER encoding of a key with 2048 bits is a little longer than its modulus of 256 bytes.
        ensure!(key.try_get_as_bytes().is_ok_and(|der| der.len() > 256), "an RSA key must have at least 2048 bits");
        Ok(Self::one(Algorithm::RS256, key))
    }

    /// Parses a JSON Web Key Set (RFC 7517). A token's `kid` selects the key. A token without `kid` is accepted if only one
    /// key has its algorithm. Keys for encryption are skipped, and so are unusable keys, such as a weak one, a private one, or
    /// the second with the same `kid`: see [`KeySet::skipped`].
    ///
    /// # Errors
    /// Returns an error if the text isn't a JWKS, or if none of its keys can be used.
    pub fn jwks(text: &str) -> Result<Self> {
        let (keys, skipped) = jwks::read(text)?;
        Ok(Self { keys, by_name: true, skipped })
    }

    /// Removes the secrets that are shared with the signer: a secret that everybody can fetch from a URL is none.
    ///
    /// # Errors
    /// Returns an error if no key is left.
    pub fn without_shared(mut self) -> Result<Self> {
        let before = self.keys.len();
        self.keys.retain(|key| key.algorithm != Algorithm::HS256);
        if self.keys.len() < before {
            self.skipped.push("its secrets for HS256, because everybody can fetch them".into());
        }
        ensure!(!self.keys.is_empty(), "it has no public key");
        Ok(self)
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Returns a sentence for each skipped key, with its name and the reason. Keys for encryption aren't among them.
    #[must_use]
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    fn one(algorithm: Algorithm, key: DecodingKey) -> Self {
        Self { keys: vec![Key { name: None, algorithm, key }], by_name: false, skipped: Vec::new() }
    }

    /// Returns the keys that a token with this `kid` and algorithm may be signed with. In a JWKS, there is at most one: if
    /// several fit, it isn't clear which one is meant, and none is returned.
    pub(super) fn fitting(&self, name: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let is_fitting = move |key: &&Key| {
            let named = !self.by_name || name.is_none() || key.name.as_deref() == name;
            named && key.algorithm == algorithm
        };
        let is_unclear = self.by_name && self.keys.iter().filter(is_fitting).count() > 1;
        self.keys.iter().filter(move |key| !is_unclear && is_fitting(key))
    }

    /// Whether a token with this `kid` may be signed with one of these keys. If not, the signer may have a new key.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !self.by_name || self.keys.iter().any(|key| key.name.as_deref() == Some(name))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, algorithm, key: _ } = self;
        f.debug_struct("Key").field("name", name).field("algorithm", algorithm).finish_non_exhaustive()
    }
}
