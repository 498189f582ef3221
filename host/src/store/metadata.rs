//! What the store writes down for itself: its format, the mark of its ids, and how much each plugin has. In the same batch as what
//! it is about.

use bytes::Bytes;

use super::engine::{EngineError, Snapshot, Span};
use super::space;

/// The version of all that stands in the engine.
pub(super) const FORMAT: u64 = 1;

const USAGE: &[u8] = b"usage:";

/// Where the format's version stands.
pub(super) fn format() -> Bytes {
    space::metadata_key(b"format")
}

/// Where the time stands, in milliseconds since 1970, that no id has reached: see `ids`.
pub(super) fn mark() -> Bytes {
    space::metadata_key(b"ids")
}

/// Where it stands how many bytes a plugin has.
pub(super) fn usage(plugin: &str) -> Bytes {
    space::metadata_key(&[USAGE, plugin.as_bytes()].concat())
}

/// Where that stands for all plugins.
pub(super) fn usages() -> Span {
    space::metadata_span(USAGE)
}

/// The plugin that an entry of the usages is about.
pub(super) fn plugin_of(place: &Bytes) -> Option<&str> {
    std::str::from_utf8(place.get(1 + USAGE.len()..)?).ok()
}

/// A number as it stands in the books.
pub(super) fn entry(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Reads a number again.
///
/// # Errors
/// Where it is none.
pub(super) fn number(entry: &[u8]) -> Result<u64, EngineError> {
    let bytes =
        entry.try_into().map_err(|_| EngineError::new("the store's books are damaged: an entry is no number"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Reads an entry; none where there isn't one.
///
/// # Errors
/// Those of the engine, and where it is no number.
pub(super) async fn read(snapshot: &dyn Snapshot, place: &Bytes) -> Result<Option<u64>, EngineError> {
    snapshot.get(place).await?.map(|entry| number(&entry)).transpose()
}
