//! Derives the key of a token from a secret and a salt, and caches derived keys.

use std::collections::VecDeque;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::{Arc, Mutex, PoisonError};

use pbkdf2::pbkdf2_hmac;
use sha2::{Sha256, Sha384, Sha512};

use super::Secret;

/// The hash for the derivation of keys. It doesn't affect the signature of a token, which is HMAC-SHA256, as in Phoenix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyDigest {
    /// Phoenix's default.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How the key of a token is derived from a secret: PBKDF2 with HMAC, as in `Plug.Crypto.KeyGenerator`. The signer and the
/// verifier must use the same values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// The salt, such as `user socket`, which separates tokens of one kind from others.
    pub salt: String,
    /// The number of rounds. Default 1000. They run when a key isn't in the cache of [`Tokens`](super::Tokens).
    pub key_iterations: NonZeroU32,
    /// The number of bytes of the key. Default 32.
    pub key_length: NonZeroU16,
    /// The hash. Default `sha256`.
    pub key_digest: KeyDigest,
}

const fn iterations() -> NonZeroU32 {
    NonZeroU32::new(1000).expect("a thousand isn't zero")
}

const fn length() -> NonZeroU16 {
    NonZeroU16::new(32).expect("32 isn't zero")
}

impl Derivation {
    /// Returns the derivation for a salt, with Phoenix's defaults.
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

/// A cache of the keys that were derived from one secret, because a thousand rounds for each connection would cost too much.
#[derive(Default)]
pub(super) struct DerivedKeys {
    /// The keys, the most recently used last. A mutex, because any thread may sign or verify. It is held only to search or insert.
    kept: Mutex<VecDeque<(Derivation, Arc<[u8]>)>>,
}

/// The maximum number of cached keys. A host normally uses a few salts. If plugins use many, the least
/// recently used key is evicted, so the keys of mounts stay.
const KEYS_MAX: usize = 64;

/// The maximum number of bytes of a cached key and its salt together. Longer ones are derived each time.
const KEPT_BYTES_MAX: usize = 1024;

impl DerivedKeys {
    pub(super) fn get(&self, secret: &Secret, derivation: &Derivation) -> Arc<[u8]> {
        if let Some(key) = self.find(derivation) {
            return key;
        }
        // Derived without the lock, so that other threads don't wait. Two threads may derive the same key at once.
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
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().rposition(|(known, _)| known == derivation)?;
        let entry = kept.remove(place)?;
        let key = entry.1.clone();
        kept.push_back(entry);
        Some(key)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_cached_keys_is_limited() {
        let secret = Secret::new(b"a secret that is long enough");
        let keys = DerivedKeys::default();
        let quick = |salt: String| Derivation { key_iterations: NonZeroU32::MIN, ..Derivation::of(&salt) };
        let first = keys.get(&secret, &quick("0".into()));
        assert!(Arc::ptr_eq(&first, &keys.get(&secret, &quick("0".into()))), "it is derived once");
        for number in 1..=KEYS_MAX {
            keys.get(&secret, &quick(number.to_string()));
            // A key that is used stays, however many others come.
            if number < KEYS_MAX {
                assert!(Arc::ptr_eq(&first, &keys.get(&secret, &quick("0".into()))), "it is still there");
            }
        }
        (1..=KEYS_MAX).for_each(|number| drop(keys.get(&secret, &quick(number.to_string()))));
        assert_eq!(keys.kept.lock().unwrap().len(), KEYS_MAX);
        let again = keys.get(&secret, &quick("0".into()));
        assert!(!Arc::ptr_eq(&first, &again) && first == again, "it was evicted, and is derived again");
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
}
