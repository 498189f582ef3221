//! State between two calls: MessagePack with named fields.
//!
//! It is compact, and it describes itself: a field that is added with a default reads what an earlier build wrote.

use std::any::type_name;

use serde::{Serialize, de::DeserializeOwned};

/// The bytes that the host keeps.
pub(crate) fn encode<T: Serialize>(state: &T) -> Result<Vec<u8>, String> {
    rmp_serde::to_vec_named(state).map_err(|error| format!("a {} can't be encoded: {error}", type_name::<T>()))
}

/// The state that the bytes stand for.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    read(bytes).map_err(|error| format!("the kept state can't be read as a {}: {error}", type_name::<T>()))
}

/// What bytes stand for, be they a state or what was stored.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

/// The state's new bytes, or none where they are the old ones.
pub(crate) fn changed<T: Serialize>(state: &T, old: Option<&[u8]>) -> Result<Option<Vec<u8>>, String> {
    let new = encode(state)?;
    Ok((old != Some(&new[..])).then_some(new))
}
