//! The layout of the engine's keys. Each plugin has its own spans of keys, and these can't overlap.
//!
//! ```text
//! 0 name                       metadata (see `metadata`)
//! 1 length plugin key          a plugin's own keys
//! 2 length plugin topic        its durable rooms
//! 3 length plugin topic        their former states, from before a build on probation upgraded them
//! ```
//!
//! The length (one byte) is before the plugin's name. So no plugin's span is inside another's, and the keys of one plugin
//! are in the order of their own bytes.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::engine::Span;
use bennu_semantics::limits::Oversize;

const METADATA: u8 = 0;
const KEYS: u8 = 1;
const ROOMS: u8 = 2;
const FORMERS: u8 = 3;

/// A plugin's name for its data, and its quota. Cheap to clone; created once for a plugin.
#[derive(Clone)]
pub struct Owner {
    inner: Arc<Inner>,
}

struct Inner {
    name: Box<str>,
    quota_bytes: u64,
    /// The prefixes of its engine keys, by [`Kind`].
    prefixes: [Bytes; 3],
}

/// The kinds of a plugin's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Keys,
    Rooms,
    /// Former states of rooms.
    Formers,
}

/// A key of the engine, split into its parts.
pub(super) struct Place {
    pub(super) plugin: String,
    pub(super) kind: Kind,
    /// The plugin's key, or the topic.
    pub(super) name: Bytes,
}

/// All kinds, in the order of their keys.
pub(super) const KINDS: [Kind; 3] = [Kind::Keys, Kind::Rooms, Kind::Formers];

impl Owner {
    const NAME_BYTES_MAX: usize = u8::MAX as usize;

    /// Creates the owner with this name and a quota for the bytes of its keys and values.
    ///
    /// # Errors
    /// If the name is empty or has more than 255 bytes.
    pub fn new(name: &str, quota_bytes: u64) -> Result<Self, Oversize> {
        let bytes = name.len();
        let length = u8::try_from(bytes).ok().filter(|length| *length > 0);
        let length = length.ok_or(Oversize::Name { bytes, limit: Self::NAME_BYTES_MAX })?;
        let prefix = |kind: u8| Bytes::from([&[kind, length], name.as_bytes()].concat());
        let inner = Inner { name: name.into(), quota_bytes, prefixes: [KEYS, ROOMS, FORMERS].map(prefix) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the plugin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the same plugin without a quota, for writes of the host itself that the quota must not prevent.
    #[must_use]
    pub fn without_quota(&self) -> Self {
        let Inner { name, prefixes, .. } = &*self.inner;
        let inner = Inner { name: name.clone(), quota_bytes: u64::MAX, prefixes: prefixes.clone() };
        Self { inner: Arc::new(inner) }
    }

    /// Returns the most bytes that its keys, topics of rooms, and their values may have together.
    #[must_use]
    pub fn quota_bytes(&self) -> u64 {
        self.inner.quota_bytes
    }

    fn prefix(&self, kind: Kind) -> &Bytes {
        &self.inner.prefixes[kind as usize]
    }

    /// Returns the length of the prefix of its engine keys.
    pub(super) fn prefix_len(&self) -> usize {
        self.inner.name.len() + 2
    }

    /// Returns the engine's key for a key or topic of the plugin.
    pub(super) fn place(&self, kind: Kind, name: &[u8]) -> Bytes {
        let prefix = self.prefix(kind);
        let mut key = BytesMut::with_capacity(prefix.len() + name.len());
        key.put_slice(prefix);
        key.put_slice(name);
        key.freeze()
    }

    /// Returns the plugin's key or topic for a key of the engine.
    pub(super) fn name_of(&self, place: &Bytes) -> Bytes {
        place.slice(self.prefix_len()..)
    }

    /// Returns the bytes of a row that count for the quota. Former states of rooms count nothing. Otherwise, a new build
    /// could upgrade rooms only while the plugin uses less than half of its quota. Their size is bounded by the size of the
    /// rooms when the probation began.
    pub(super) fn weight(&self, place: &Bytes, value: &Bytes) -> u64 {
        if place.first() == Some(&FORMERS) {
            return 0;
        }
        (place.len() - self.prefix_len() + value.len()) as u64
    }

    /// Returns the span of the plugin's engine keys of one kind.
    pub(super) fn span(&self, kind: Kind) -> Span {
        let from = self.prefix(kind).clone();
        Span { until: after_prefix(&from), from }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owner").field(&self.inner.name).finish()
    }
}

/// Whether two keys of the engine are of the same kind. Only such keys may be merged into one span of reads.
pub(super) fn are_akin(one: &[u8], other: &[u8]) -> bool {
    one.first() == other.first()
}

/// Returns the engine's key for a metadata name.
pub(super) fn metadata_key(name: &[u8]) -> Bytes {
    [&[METADATA], name].concat().into()
}

/// Returns the span of all metadata with this prefix.
pub(super) fn metadata_span(prefix: &[u8]) -> Span {
    let from = metadata_key(prefix);
    Span { until: after_prefix(&from), from }
}

/// Returns the span of all plugins' keys, rooms, and former states of rooms.
pub(super) fn everything() -> Span {
    Span { from: vec![KEYS].into(), until: vec![FORMERS + 1].into() }
}

impl Place {
    /// Splits a key of the engine. Returns none if it doesn't belong to a plugin.
    pub(super) fn read(place: &Bytes) -> Option<Self> {
        let kind = match *place.first()? {
            KEYS => Kind::Keys,
            ROOMS => Kind::Rooms,
            FORMERS => Kind::Formers,
            _ => return None,
        };
        let end = 2 + usize::from(*place.get(1)?);
        let plugin = String::from_utf8(place.get(2..end)?.to_vec()).ok()?;
        Some(Self { plugin, kind, name: place.slice(end..) })
    }
}

/// Returns the least key that is greater than all keys with the prefix. The prefix doesn't end with the byte 255, because
/// names are UTF-8 and kinds are small numbers. So increasing its last byte can't overflow.
fn after_prefix(prefix: &[u8]) -> Bytes {
    let mut after = prefix.to_vec();
    if let Some(last) = after.last_mut() {
        *last += 1;
    }
    after.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner::new(name, 0).unwrap()
    }

    #[test]
    fn no_owner_has_a_key_in_the_span_of_another() {
        let long = "x".repeat(255);
        let names = ["a", "ab", "b", "\u{1}a", "\u{2}", "é", "\u{10ffff}", long.as_str()];
        let keys: [&[u8]; 6] = [b"", b"\0", b"a", b"ab", b"\xff\xff", b"\x01\x01b"];
        for name in names {
            for kind in KINDS {
                for key in keys {
                    let place = owner(name).place(kind, key);
                    let holds = |span: &Span| span.from <= place && place < span.until;
                    for other in names {
                        for other_kind in KINDS {
                            let is_its = name == other && kind == other_kind;
                            assert_eq!(holds(&owner(other).span(other_kind)), is_its, "{name} {other} {key:?}");
                        }
                    }
                    assert!(holds(&everything()) && !holds(&metadata_span(b"")));
                    let read = Place::read(&place).unwrap();
                    assert_eq!((read.plugin.as_str(), read.kind, read.name.as_ref()), (name, kind, key));
                    assert_eq!(owner(name).name_of(&place), key);
                }
            }
        }
    }

    #[test]
    fn keys_are_in_the_order_of_the_plugins_own_bytes() {
        let mut keys: [&[u8]; 5] = [b"\xff", b"a\0", b"b", b"\0", b"a"];
        keys.sort_unstable();
        assert!(keys.map(|key| owner("chat").place(Kind::Keys, key)).is_sorted());
    }

    #[test]
    fn empty_and_long_names_are_refused() {
        for name in ["", "x".repeat(256).as_str()] {
            assert_eq!(Owner::new(name, 0).unwrap_err(), Oversize::Name { bytes: name.len(), limit: 255 });
        }
        assert!(Place::read(&metadata_key(b"format")).is_none());
    }
}
