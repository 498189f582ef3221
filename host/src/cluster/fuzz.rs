//! A fuzz target of the messages of other nodes: see `crate::fuzz`.

use bytes::Bytes;

use super::codec::{decode, encode};

/// A message of another node. One that is read is written and read again unchanged.
pub(crate) fn node_message(bytes: &[u8]) -> bool {
    let Ok(message) = decode(Bytes::copy_from_slice(bytes)) else { return false };
    assert_eq!(decode(encode(&message)), Ok(message));
    true
}
