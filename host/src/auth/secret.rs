//! A secret that is never printed.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The bytes of a secret. Neither `Debug` nor `Display` shows them or their number. Clones share the bytes.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Makes a secret of these bytes. A configuration reads its secrets with a [`SecretSource`](super::SecretSource).
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Whether the presented bytes are this secret. The time doesn't depend on where the two differ. An empty secret never
    /// matches.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        // Compares digests, because a comparison of slices with different lengths would reveal the length.
        let same: bool = Sha256::digest(&self.0).as_slice().ct_eq(Sha256::digest(presented).as_slice()).into();
        same && !self.0.is_empty()
    }

    /// Returns the secret as text, to send it to a server.
    ///
    /// # Errors
    /// Returns an error if the secret isn't UTF-8.
    pub fn expose(&self) -> anyhow::Result<&str> {
        std::str::from_utf8(&self.0).map_err(|_| anyhow::anyhow!("the secret is not text"))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_match() {
        let secret = Secret::new(b"correct horse");
        assert!(secret.matches(b"correct horse"));
        for other in [&b""[..], b"correct hors", b"correct horse ", b"Correct horse", b"correct horsf"] {
            assert!(!secret.matches(other), "{other:?}");
        }
        assert!(!Secret::new(b"").matches(b""), "an empty secret never matches");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new(b"correct horse");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "… Secret(…) Secret(…)");
    }
}
