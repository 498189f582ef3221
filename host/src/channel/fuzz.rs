//! Fuzz targets of what channels store: see `crate::fuzz`.

use bytes::Bytes;

use super::room::{IdempotentRequest, StoredAnswer};
use super::turn::Former;

/// The stored answer to a request with an idempotency key. An answer that is read is stored and read again unchanged, and belongs to no
/// other request.
pub(crate) fn stored_answer(bytes: &[u8]) -> bool {
    let stored = Bytes::copy_from_slice(bytes);
    let digest: Option<[u8; 32]> = bytes.get(1..33).and_then(|digest| digest.try_into().ok());
    let request = |digest| IdempotentRequest { key: "key".into(), part: 0, digest, lifetime_ms: 1 };
    let Some(digest) = digest else {
        assert_eq!(request([0; 32]).decode(&stored), StoredAnswer::Damaged, "it is too short");
        return false;
    };
    let StoredAnswer::Same(reply) = request(digest).decode(&stored) else { return false };
    assert_eq!(request(digest.map(|byte| !byte)).decode(&stored), StoredAnswer::Other);
    let again = Bytes::from(request(digest).encode(reply.as_ref()));
    assert_eq!(request(digest).decode(&again), StoredAnswer::Same(reply));
    true
}

/// A durable room as it was before an upgrade. What is read is stored and read again unchanged.
pub(crate) fn former(bytes: &[u8]) -> bool {
    let Some(former) = Former::decode(Bytes::copy_from_slice(bytes)) else { return false };
    assert_eq!(Former::decode(former.encode()), Some(former));
    true
}
