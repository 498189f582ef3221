//! A fuzz target: reads any bytes as a flush.

use bytes::Bytes;

use super::{Content, Flush, Seal, WireError};
use crate::cluster::Secret;
use crate::node::Speaks;

/// Reads the bytes as a flush without a trailer. A flush that could be read is written again unchanged, with a trailer too, and a change
/// of any one byte of that is found. Returns whether it was a flush.
///
/// # Panics
///
/// If one of these doesn't hold.
#[must_use]
pub fn fuzz_wire(bytes: &[u8]) -> bool {
    let speaks = Speaks { from: 0, to: u16::MAX };
    let (open, sealed) = (Seal::new(None), Seal::new(Some(&Secret::new(*b"secret"))));
    let _forged = Flush::decode(Bytes::copy_from_slice(bytes), &sealed, speaks);
    let Ok(flush) = Flush::decode(Bytes::copy_from_slice(bytes), &open, speaks) else { return false };
    assert_eq!(flush.encode(&open), bytes, "a flush is written as it was read");
    if let Content::Batch(batch) = &flush.content {
        let bytes: usize = batch.messages.clone().map(|message| 4 + message.len()).sum();
        assert_eq!(bytes, batch.messages.len(), "every message of a batch is read");
    }
    let trailed = flush.encode(&sealed);
    if trailed.len() <= super::FLUSH_BYTES_MAX {
        assert_eq!(Flush::decode(trailed.clone(), &sealed, speaks).as_ref(), Ok(&flush));
        let mut changed = trailed.to_vec();
        let at = bytes.first().map_or(0, |byte| usize::from(*byte)) % changed.len();
        changed[at] ^= 1;
        assert_eq!(Flush::decode(changed.into(), &sealed, speaks), Err(WireError::Forged));
    }
    true
}
