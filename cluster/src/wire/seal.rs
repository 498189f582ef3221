//! The trailer of a flush: proof that its sender knows the cluster's secret.

use bytes::{Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::WireError;
use crate::cluster::Secret;
use crate::settings::SECRET_MARK_BYTES;

/// The bytes of the trailer: the first half of an HMAC-SHA256. 128 bits can't be guessed, and each flush has them.
pub(super) const TRAILER_BYTES: usize = 16;

/// What the key of the trailers is derived with, so that a secret that is used elsewhere too gives another key there.
const PURPOSE: &[u8] = b"bennu cluster flush";

/// The same for the mark of the secret.
const MARK_PURPOSE: &[u8] = b"bennu cluster secret";

/// Makes and checks the trailers of flushes. Without a secret there are none.
#[derive(Clone)]
pub struct Seal(Option<SealKeys>);

#[derive(Clone)]
struct SealKeys {
    trailer: Hmac<Sha256>,
    mark: [u8; SECRET_MARK_BYTES],
}

impl Seal {
    /// The seal of a cluster with that secret.
    #[must_use]
    pub fn new(secret: Option<&Secret>) -> Self {
        Self(secret.map(|secret| {
            let derived = |purpose| keyed(secret.bytes()).chain_update(purpose).finalize().into_bytes();
            let mut mark = [0; SECRET_MARK_BYTES];
            mark.copy_from_slice(&derived(MARK_PURPOSE)[..SECRET_MARK_BYTES]);
            SealKeys { trailer: keyed(&derived(PURPOSE)), mark }
        }))
    }

    /// Shows whether two nodes have the same secret. None without a secret.
    #[must_use]
    pub fn mark(&self) -> Option<[u8; SECRET_MARK_BYTES]> {
        self.0.as_ref().map(|keys| keys.mark)
    }

    /// Adds the trailer.
    pub(super) fn close(&self, mut flush: BytesMut) -> Bytes {
        if let Some(SealKeys { trailer, .. }) = &self.0 {
            let code = trailer.clone().chain_update(&flush).finalize().into_bytes();
            flush.extend_from_slice(&code[..TRAILER_BYTES]);
        }
        flush.freeze()
    }

    /// Checks the trailer, and removes it.
    pub(super) fn open(&self, mut flush: Bytes) -> Result<Bytes, WireError> {
        let Some(keys) = &self.0 else { return Ok(flush) };
        let Some(length) = flush.len().checked_sub(TRAILER_BYTES) else { return Err(WireError::Short) };
        let trailer = flush.split_off(length);
        let code = keys.trailer.clone().chain_update(&flush).finalize().into_bytes();
        if bool::from(code[..TRAILER_BYTES].ct_eq(&trailer)) { Ok(flush) } else { Err(WireError::Forged) }
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}
