//! Keys of the API: their form, and the hashes that a configuration has of them.
//!
//! A key is `bennu_ID_SECRET`. The id isn't secret: it names the key in logs, and says which key a leaked one is. The prefix lets
//! tools that look for secrets in source code find a key.
//!
//! The hash is SHA-256, without a salt and without rounds. Both protect secrets that can be guessed. The secret part has 256
//! random bits, so nobody can guess it, and no two keys are equal. A slow hash would be paid by each request.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Secret;

/// The beginning of each key.
const PREFIX: &str = "bennu_";

/// The number of bytes of an id, which is written in hexadecimal digits.
const ID_BYTES: usize = 4;

/// The number of bytes of the secret part.
const SECRET_BYTES: usize = 32;

/// The number of random bytes that [`NewApiKey::from_random`] needs.
pub const API_KEY_BYTES: usize = ID_BYTES + SECRET_BYTES;

/// The name of the hash, as it is written.
const ALGORITHM: &str = "sha256:";

/// A hash of an API key, as it is in the configuration: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ApiKeyHash([u8; 32]);

/// A new key, with its id.
pub struct NewApiKey {
    /// The id, which is also in the key.
    pub id: String,
    /// The whole key.
    pub key: String,
}

impl NewApiKey {
    /// Makes a key of these bytes, which must be random.
    #[must_use]
    pub fn from_random(random: &[u8; API_KEY_BYTES]) -> Self {
        let (id, secret) = random.split_at(ID_BYTES);
        let id = hexadecimal(id);
        let key = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        Self { id, key }
    }
}

impl ApiKeyHash {
    /// Returns the hash of a key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Returns the hash of a key that is configured as a secret.
    #[must_use]
    pub fn of_secret(key: &Secret) -> Self {
        Self::of(key.bytes())
    }

    /// Returns the bytes of the hash.
    #[must_use]
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Whether the two are equal. The time doesn't depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl FromStr for ApiKeyHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let why = "a hash is `sha256:` and 64 hexadecimal digits, as `bennu key new` prints it; the key itself is never written here";
        let digits =
            text.strip_prefix(ALGORITHM).filter(|digits| digits.len() == 64 && digits.is_ascii()).ok_or(why)?;
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            let pair = &digits[at..at + 2];
            // `from_str_radix` alone would accept a sign.
            let is_hexadecimal = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            *byte = u8::from_str_radix(pair, 16).ok().filter(|_| is_hexadecimal).ok_or(why)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", hexadecimal(&self.0))
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Replaces the secret part of each API key in a text, for errors that quote a line of the configuration.
#[must_use]
pub fn without_api_keys(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let (before, found) = rest.split_at(at + PREFIX.len());
        shown.push_str(before);
        let is_of_key = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
        let length = found.chars().take_while(is_of_key).map(char::len_utf8).sum::<usize>();
        let (word, after) = found.split_at(length);
        // Also a part of a key: a secret that was cut off is still worth hiding.
        if word.len() > 2 * ID_BYTES + 1 && word.as_bytes()[2 * ID_BYTES] == b'_' {
            shown.push_str(&word[..=2 * ID_BYTES]);
            shown.push('…');
        } else {
            shown.push_str(word);
        }
        rest = after;
    }
    shown + rest
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> NewApiKey {
        NewApiKey::from_random(&std::array::from_fn(|at| at as u8))
    }

    #[test]
    fn a_key_has_its_id_and_a_secret_of_256_bits() {
        let NewApiKey { id, key } = new();
        assert_eq!(id, "00010203");
        assert_eq!(key, "bennu_00010203_BAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiM");
        assert_eq!(key.len(), "bennu_00010203_".len() + 43);
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = ApiKeyHash::of(new().key.as_bytes());
        let written = hash.to_string();
        assert!(written.parse::<ApiKeyHash>().is_ok_and(|read| read.matches(&hash)));
        assert!(!ApiKeyHash::of(b"another").matches(&hash));
        assert_eq!(
            ApiKeyHash::of(b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        for bad in ["", "sha256:", &written[7..], &written[..70], &format!("{written}0"), &written.replace(':', "=")] {
            assert!(bad.parse::<ApiKeyHash>().is_err(), "{bad}");
        }
        assert!(format!("sha256:{}", "+1".repeat(32)).parse::<ApiKeyHash>().is_err());
        assert!(format!("sha256:{}", "é".repeat(32)).parse::<ApiKeyHash>().is_err());
    }

    #[test]
    fn keys_in_a_text_are_hidden() {
        let key = new().key;
        let text = format!("1 | hash = \"{key}\" and {} and bennu_tests é bennu_", &key[..20]);
        let shown = without_api_keys(&text);
        assert_eq!(shown, "1 | hash = \"bennu_00010203_…\" and bennu_00010203_… and bennu_tests é bennu_");
    }
}
