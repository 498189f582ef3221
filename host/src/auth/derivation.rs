//! The key that a secret and a salt make, and those that were made lately.

use std::collections::VecDeque;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::{Arc, Mutex, PoisonError};

use pbkdf2::pbkdf2_hmac;
use serde::Deserialize;
use sha2::{Sha256, Sha384, Sha512};

use super::Secret;

/// The hash that keys are derived with. The signature of a token stays HMAC-SHA256, as in Phoenix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyDigest {
    /// Phoenix's default.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How the key of a token is derived from a secret: PBKDF2 with HMAC, as `Plug.Crypto.KeyGenerator` does it. Whoever signs
/// and whoever verifies must agree on all of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derivation {
    /// What sets tokens of one kind apart from those of another, such as `user socket`.
    pub salt: String,
    /// Rounds. Default 1000. They are run once for each salt, and once more when it wasn't used for long.
    #[serde(default = "iterations")]
    pub key_iterations: NonZeroU32,
    /// Bytes of the key. Default 32.
    #[serde(default = "length")]
    pub key_length: NonZeroU16,
    /// The hash. Default `sha256`.
    #[serde(default)]
    pub key_digest: KeyDigest,
}

const fn iterations() -> NonZeroU32 {
    NonZeroU32::new(1000).expect("a thousand isn't zero")
}

const fn length() -> NonZeroU16 {
    NonZeroU16::new(32).expect("32 isn't zero")
}

impl Derivation {
    /// The salt with Phoenix's defaults.
    #[must_use]
    pub fn of(salt: &str) -> Self {
        Self { salt: salt.into(), key_iterations: iterations(), key_length: length(), key_digest: KeyDigest::default() }
    }

    fn derive(&self, secret: &Secret) -> Arc<[u8]> {
        let mut key = vec![0; self.key_length.get().into()];
        let (secret, salt, rounds) = (secret.bytes(), self.salt.as_bytes(), self.key_iterations.get());
        match self.key_digest {
            KeyDigest::Sha256 => pbkdf2_hmac::<Sha256>(secret, salt, rounds, &mut key),
            KeyDigest::Sha384 => pbkdf2_hmac::<Sha384>(secret, salt, rounds, &mut key),
            KeyDigest::Sha512 => pbkdf2_hmac::<Sha512>(secret, salt, rounds, &mut key),
        }
        key.into()
    }
}

/// Keys of one secret that were derived lately: a thousand rounds at each connect would be too dear.
#[derive(Default)]
pub(super) struct DerivedKeys {
    /// The latest one last.
    kept: Mutex<VecDeque<(Derivation, Arc<[u8]>)>>,
}

/// Keys that are kept. A host uses a few salts; where plugins make up many, the eldest goes.
const KEYS_MAX: usize = 64;

/// Bytes of what is kept of a key and its salt. Longer ones are derived each time.
const KEPT_BYTES_MAX: usize = 1024;

impl DerivedKeys {
    pub(super) fn get(&self, secret: &Secret, derivation: &Derivation) -> Arc<[u8]> {
        if let Some(key) = self.find(derivation) {
            return key;
        }
        // Not under the lock. Two that want a new one at once both derive it.
        let key = derivation.derive(secret);
        if derivation.salt.len() + key.len() <= KEPT_BYTES_MAX && self.find(derivation).is_none() {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_back((derivation.clone(), key.clone()));
            if kept.len() > KEYS_MAX {
                kept.pop_front();
            }
        }
        key
    }

    fn find(&self, derivation: &Derivation) -> Option<Arc<[u8]>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == derivation).map(|(_, key)| key.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn few_keys_are_kept() {
        let secret = Secret::new(b"a secret that is long enough");
        let keys = DerivedKeys::default();
        let quick = |salt: String| Derivation { key_iterations: NonZeroU32::MIN, ..Derivation::of(&salt) };
        let first = keys.get(&secret, &quick("0".into()));
        assert!(Arc::ptr_eq(&first, &keys.get(&secret, &quick("0".into()))), "it is derived once");
        for number in 1..=KEYS_MAX {
            keys.get(&secret, &quick(number.to_string()));
        }
        assert_eq!(keys.kept.lock().unwrap().len(), KEYS_MAX);
        let again = keys.get(&secret, &quick("0".into()));
        assert!(!Arc::ptr_eq(&first, &again) && first == again, "it went, and is derived anew");
        let long = quick("x".repeat(KEPT_BYTES_MAX));
        assert!(!Arc::ptr_eq(&keys.get(&secret, &long), &keys.get(&secret, &long)), "a long one isn't kept");
    }

    #[test]
    fn each_option_makes_another_key() {
        let secret = Secret::new(b"a secret that is long enough");
        let keys = DerivedKeys::default();
        let plain = Derivation::of("salt");
        let others = [
            Derivation::of("other"),
            Derivation { key_iterations: NonZeroU32::MIN, ..plain.clone() },
            Derivation { key_length: NonZeroU16::MIN, ..plain.clone() },
            Derivation { key_digest: KeyDigest::Sha384, ..plain.clone() },
            Derivation { key_digest: KeyDigest::Sha512, ..plain.clone() },
        ];
        for other in others {
            assert_ne!(keys.get(&secret, &plain), keys.get(&secret, &other), "{other:?}");
        }
    }

    #[test]
    fn a_configuration_names_the_salt_at_least() {
        let parse = |text: &str| toml::from_str::<Derivation>(text).map_err(|error| error.to_string());
        assert_eq!(parse("salt = \"user socket\""), Ok(Derivation::of("user socket")));
        let full = parse("salt = \"s\"\nkey_iterations = 2000\nkey_length = 64\nkey_digest = \"sha512\"").unwrap();
        assert_eq!((full.key_iterations.get(), full.key_length.get()), (2000, 64));
        assert_eq!(full.key_digest, KeyDigest::Sha512);
        for (text, word) in [
            ("", "salt"),
            ("salt = \"s\"\nkey_iterations = 0", "nonzero"),
            ("salt = \"s\"\nkey_length = 65536", "65536"),
            ("salt = \"s\"\nkey_digest = \"md5\"", "`sha256`, `sha384`"),
            ("salt = \"s\"\niterations = 1", "`key_iterations`"),
        ] {
            assert!(parse(text).is_err_and(|error| error.contains(word)), "{text}: {:?}", parse(text));
        }
    }
}
