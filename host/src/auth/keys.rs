//! Keys that JSON Web Tokens are verified with.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{Secret, jwks};

/// The keys that a token may be signed with. Each has one algorithm, whatever a token says.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Whether it is a file of keys by name, in which a token's `kid` has to be.
    by_name: bool,
    /// Of each key of a set that can't be used, why not.
    skipped: Vec<String>,
}

/// A key with its algorithm, and its name in a JWKS.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) name: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Bytes of a file of keys at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a secret for HS256 at least: RFC 7518, section 3.2.
const SECRET_BYTES_MIN: usize = 32;

impl KeySet {
    /// A secret that is shared with who signs, for HS256.
    ///
    /// # Errors
    /// Where it has less than 32 bytes: a shorter one can be found out from any token.
    pub fn shared(secret: &Secret) -> Result<Self> {
        let bytes = secret.bytes();
        ensure!(
            bytes.len() >= SECRET_BYTES_MIN,
            "the secret is too short: HS256 wants {SECRET_BYTES_MIN} bytes at least (RFC 7518); \
             `openssl rand -base64 48` makes one"
        );
        Ok(Self::one(Algorithm::HS256, DecodingKey::from_secret(bytes)))
    }

    /// A file with a public key in PEM (see [`KeySet::pem`]), or with a JWKS (see [`KeySet::jwks`]).
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self> {
        let reading = || format!("reading the keys in {}", path.display());
        let size = std::fs::metadata(path).with_context(reading)?.len();
        ensure!(size <= FILE_BYTES_MAX, "the keys in {}: it has more than {FILE_BYTES_MAX} bytes", path.display());
        let text = std::fs::read_to_string(path).with_context(reading)?;
        // What some editors write at the start of a text.
        let text = text.trim_start_matches('\u{feff}');
        let read = if text.trim_start().starts_with('{') { Self::jwks(text) } else { Self::pem(text) };
        read.with_context(|| format!("the keys in {}", path.display()))
    }

    /// A public key in PEM (`BEGIN PUBLIC KEY`): RSA with 2048 bits at least for RS256, P-256 for ES256, Ed25519 for EdDSA.
    ///
    /// # Errors
    /// Where it is none of these. A private key is refused: it has no business here.
    pub fn pem(text: &str) -> Result<Self> {
        let label =
            text.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----")).map(|(label, _)| label);
        match label {
            Some("PUBLIC KEY" | "RSA PUBLIC KEY") => {}
            Some("CERTIFICATE") => {
                bail!("it is a certificate; take the key out of it with `openssl x509 -pubkey -noout`")
            }
            Some(label) if label.contains("PRIVATE KEY") => bail!(
                "it is a private key, which only who signs may have; make its public one with `openssl pkey -pubout`"
            ),
            _ => bail!("it is no public key in PEM (`-----BEGIN PUBLIC KEY-----`), and no JWKS"),
        }
        let bytes = text.as_bytes();
        if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
            return Ok(Self::one(Algorithm::EdDSA, key));
        }
        if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
            // An uncompressed point of P-256.
            ensure!(
                key.try_get_as_bytes().is_ok_and(|point| point.len() == 65),
                "its curve isn't P-256, which ES256 wants"
            );
            return Ok(Self::one(Algorithm::ES256, key));
        }
        let key = DecodingKey::from_rsa_pem(bytes).map_err(|_| anyhow!("it is no key for RS256, ES256 or EdDSA"))?;
        // With what stands around the modulus, it is a little longer than 256 bytes.
        ensure!(key.try_get_as_bytes().is_ok_and(|der| der.len() > 256), "an RSA key has 2048 bits at least");
        Ok(Self::one(Algorithm::RS256, key))
    }

    /// A JSON Web Key Set (RFC 7517). A token's `kid` chooses the key; one without `kid` is taken where a single key has its
    /// algorithm. Keys for encryption are left out, and so are those that can't be used, such as a weak one, a private one, or
    /// the second of one `kid`: see [`KeySet::skipped`].
    ///
    /// # Errors
    /// Where it is no JWKS, or no key of it can be used.
    pub fn jwks(text: &str) -> Result<Self> {
        let (keys, skipped) = jwks::read(text)?;
        Ok(Self { keys, by_name: true, skipped })
    }

    /// Of each key of a set that was left out although it isn't for encryption, a sentence that names it and says why.
    #[must_use]
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    fn one(algorithm: Algorithm, key: DecodingKey) -> Self {
        Self { keys: vec![Key { name: None, algorithm, key }], by_name: false, skipped: Vec::new() }
    }

    /// The key for a token. None where there isn't one, it isn't clear which, or its algorithm is another one.
    pub(super) fn find(&self, name: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self.keys.iter().filter(|key| {
            let named = !self.by_name || name.is_none() || key.name.as_deref() == name;
            named && key.algorithm == algorithm
        });
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, algorithm, key: _ } = self;
        f.debug_struct("Key").field("name", name).field("algorithm", algorithm).finish_non_exhaustive()
    }
}
