//! The encoding of states and stored values: MessagePack with named fields.
//!
//! This encoding is compact, and each field has its name. So a new field with a default reads the bytes of an earlier
//! build.

use std::any::type_name;

use serde::{Serialize, de::DeserializeOwned};

/// Returns the encoded state.
pub(crate) fn encode<T: Serialize>(state: &T) -> Result<Vec<u8>, String> {
    rmp_serde::to_vec_named(state).map_err(|error| format!("a {} can't be encoded: {error}", type_name::<T>()))
}

/// Adds an encoded value to these bytes.
pub(crate) fn encode_to<T: Serialize>(bytes: &mut Vec<u8>, value: &T) -> Result<(), String> {
    let encoded = rmp_serde::encode::write_named(bytes, value);
    encoded.map_err(|error| format!("a {} can't be encoded: {error}", type_name::<T>()))
}

/// Decodes a state that the host keeps.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    read(bytes).map_err(|error| format!("the state can't be read as a {}: {error}", type_name::<T>()))
}

/// Decodes a state or a stored value.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

/// Returns the encoded state, or none if it equals the old bytes.
pub(crate) fn changed<T: Serialize>(state: &T, old: Option<&[u8]>) -> Result<Option<Vec<u8>>, String> {
    let new = encode(state)?;
    Ok((old != Some(&new[..])).then_some(new))
}
