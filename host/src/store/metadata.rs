//! The store's metadata: the version of its format, the id mark, and how many bytes each plugin has. Usage is written in the
//! same batch as the data that it counts.

use bytes::Bytes;

use super::engine::{EngineError, Snapshot, Span};
use super::space;

/// The first format: a store without entries, and without a log. A store of an earlier format becomes one of [`FORMAT`]
/// with the first batch.
pub(super) const FIRST_FORMAT: u64 = 1;

/// The format of stores with entries, a log, jobs, deliveries, and keys with a time to live. Hosts that know none of them refuse it. They
/// could roll a room back without its entries, they would lose commits that are only in the log, and they would return expired
/// values. Format 2 had neither jobs nor deliveries and no times to live.
pub(super) const FORMAT: u64 = 3;

/// Returns the format of a store's content, or none if it is empty.
///
/// # Errors
/// If the engine fails, or this version can't read the format.
pub(super) async fn read_format(snapshot: &dyn Snapshot) -> Result<Option<u64>, EngineError> {
    let format = read(snapshot, &format()).await?;
    match format {
        Some(other) if !(FIRST_FORMAT..=FORMAT).contains(&other) => Err(EngineError::new(format!(
            "its content has format {other}, and this version of bennu knows format {FORMAT}: export it with the version that wrote \
             it, and import that export here"
        ))),
        format => Ok(format),
    }
}

const USAGE: &[u8] = b"usage:";

/// Returns the engine key of the format version.
pub(super) fn format() -> Bytes {
    space::metadata_key(b"format")
}

/// Returns the engine key of the id mark: the time that no id has reached, in milliseconds since 1970. See `ids`.
pub(super) fn mark() -> Bytes {
    space::metadata_key(b"ids")
}

/// Returns the engine key under which a plugin's bytes are counted.
pub(super) fn usage(plugin: &str) -> Bytes {
    space::metadata_key(&[USAGE, plugin.as_bytes()].concat())
}

/// Returns the span of these keys for all plugins.
pub(super) fn usages() -> Span {
    space::metadata_span(USAGE)
}

/// Returns the plugin of a key from [`usages`].
pub(super) fn plugin_of(place: &Bytes) -> Option<&str> {
    std::str::from_utf8(place.get(1 + USAGE.len()..)?).ok()
}

/// Encodes a number as a metadata value: eight bytes, big-endian.
pub(super) fn entry(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Decodes a metadata value.
///
/// # Errors
/// If it doesn't have eight bytes.
pub(super) fn number(entry: &[u8]) -> Result<u64, EngineError> {
    let bytes =
        entry.try_into().map_err(|_| EngineError::new("the store's metadata is damaged: an entry is no number"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Reads a metadata value. Returns none if the key isn't there.
///
/// # Errors
/// Those of the engine, and if the value is no number.
pub(super) async fn read(snapshot: &dyn Snapshot, place: &Bytes) -> Result<Option<u64>, EngineError> {
    snapshot.get(place).await?.map(|entry| number(&entry)).transpose()
}
