//! A secret, which nothing prints.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Bytes that only the operator, and those whom the operator trusts, know. Neither `Debug` nor `Display` shows them, nor
/// how many there are.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// A secret of these bytes. Configurations read theirs by a [`SecretSource`](super::SecretSource).
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Whether a client presents this secret. It takes the same time wherever the two differ; an empty secret is nobody's.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        // Digests, since comparing slices of two lengths would tell the length.
        let same: bool = Sha256::digest(&self.0).as_slice().ct_eq(Sha256::digest(presented).as_slice()).into();
        same && !self.0.is_empty()
    }

    /// The secret as text, for who presents it to another.
    ///
    /// # Errors
    /// Where it is no text.
    pub fn expose(&self) -> anyhow::Result<&str> {
        std::str::from_utf8(&self.0).map_err(|_| anyhow::anyhow!("the secret is no text"))
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
        assert!(!Secret::new(b"").matches(b""), "nothing at all is no secret");
    }

    #[test]
    fn it_is_never_shown() {
        let secret = Secret::new(b"correct horse");
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "… Secret(…) Secret(…)");
    }
}
