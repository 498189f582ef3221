//! The layout of the engine's keys. Each plugin has its own spans of keys, and these can't overlap.
//!
//! ```text
//! 0 name                       metadata (see `metadata`)
//! 1 length plugin key          a plugin's own keys
//! 2 length plugin topic        its durable rooms
//! 3 length plugin topic        their former states, from before a build on probation upgraded them
//! 4 length plugin place key    the entries of durable rooms
//! 5 length plugin place key    their before-images, from before a build on probation changed them
//! 6 length plugin topic        the sums of their entries (see `entry_sums`)
//! 7 length plugin job          its jobs: schedules, and times of cron lines (see `jobs`)
//! 8 length plugin time key     when its keys with a time to live expire (see `sweep`)
//! 9 length plugin request      its answers to requests with an idempotency key (see `request_rows`)
//! 10 length plugin time request  when these answers expire (see `sweep`)
//! 11 length plugin id          its deliveries (see `deliveries`)
//! ```
//!
//! The length (one byte) is before the plugin's name. So no plugin's span is inside another's, and the keys of one plugin
//! are in the order of their own bytes. The place of an entry is the length of its topic (two bytes), and the topic. So the
//! entries of one topic are in the order of their keys, and no other topic's entry is between them.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::engine::{Span, Writes};
use bennu_semantics::limits::{ENTRY_KEY_BYTES_MAX, Oversize};

const METADATA: u8 = 0;
const KEYS: u8 = 1;
const ROOMS: u8 = 2;
const FORMERS: u8 = 3;
const ENTRIES: u8 = 4;
const ENTRY_FORMERS: u8 = 5;
const ENTRY_SUMS: u8 = 6;
const JOBS: u8 = 7;
const EXPIRIES: u8 = 8;
const REQUESTS: u8 = 9;
const REQUEST_EXPIRIES: u8 = 10;
const DELIVERIES: u8 = 11;

/// The bytes of the length before an entry's topic.
const TOPIC_LENGTH: usize = size_of::<u16>();

/// A plugin's name for its data, and its quota. Cheap to clone; created once for a plugin.
#[derive(Clone)]
pub struct Owner {
    inner: Arc<Inner>,
}

struct Inner {
    name: Box<str>,
    quota_bytes: u64,
    /// The generation of the plugin whose calls write, in a cluster.
    generation: Option<u32>,
    /// The prefixes of its engine keys, by [`Kind`].
    prefixes: [Bytes; 11],
}

/// The kinds of a plugin's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Keys,
    Rooms,
    /// Former states of rooms.
    Formers,
    /// Entries of rooms.
    Entries,
    /// Before-images of entries.
    EntryFormers,
    /// Sums of entries.
    EntrySums,
    /// Jobs.
    Jobs,
    /// The times at which keys expire.
    Expiries,
    /// Answers to requests with an idempotency key.
    Requests,
    /// The times at which these answers expire.
    RequestExpiries,
    /// Deliveries.
    Deliveries,
}

/// A key of the engine, split into its parts.
pub(super) struct Place {
    pub(super) plugin: String,
    pub(super) kind: Kind,
    /// The plugin's key, the topic, the place of an entry (see [`entry_name`]), the name of a job, or the id of a delivery.
    pub(super) name: Bytes,
}

/// All kinds, in the order of their keys.
pub(super) const KINDS: [Kind; 11] = [
    Kind::Keys,
    Kind::Rooms,
    Kind::Formers,
    Kind::Entries,
    Kind::EntryFormers,
    Kind::EntrySums,
    Kind::Jobs,
    Kind::Expiries,
    Kind::Requests,
    Kind::RequestExpiries,
    Kind::Deliveries,
];

/// The kinds of an export. An import counts the sums again, and makes the times at which keys expire from the keys. Answers to
/// requests are kept for a day, so an export would hardly ever be imported in time.
pub(super) const EXPORTED: [Kind; 7] =
    [Kind::Keys, Kind::Rooms, Kind::Formers, Kind::Entries, Kind::EntryFormers, Kind::Jobs, Kind::Deliveries];

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
        let kinds = [
            KEYS,
            ROOMS,
            FORMERS,
            ENTRIES,
            ENTRY_FORMERS,
            ENTRY_SUMS,
            JOBS,
            EXPIRIES,
            REQUESTS,
            REQUEST_EXPIRIES,
            DELIVERIES,
        ];
        let prefixes = kinds.map(prefix);
        let inner = Inner { name: name.into(), quota_bytes, generation: None, prefixes };
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
        let Inner { name, generation, prefixes, .. } = &*self.inner;
        let (name, prefixes) = (name.clone(), prefixes.clone());
        Self { inner: Arc::new(Inner { name, quota_bytes: u64::MAX, generation: *generation, prefixes }) }
    }

    /// Returns the same plugin for calls of one generation. A store that the nodes of a cluster share takes their writes only while that
    /// generation serves.
    #[must_use]
    pub fn of_generation(&self, generation: u32) -> Self {
        let Inner { name, quota_bytes, prefixes, .. } = &*self.inner;
        let (name, prefixes, quota_bytes) = (name.clone(), prefixes.clone(), *quota_bytes);
        Self { inner: Arc::new(Inner { name, quota_bytes, generation: Some(generation), prefixes }) }
    }

    /// The generation whose calls write. None without a cluster, and for writes of the host itself.
    pub(super) fn generation(&self) -> Option<u32> {
        self.inner.generation
    }

    /// Whether it has a quota, and limits of its jobs.
    pub(super) fn is_limited(&self) -> bool {
        self.inner.quota_bytes != u64::MAX
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

    /// Returns the bytes of a row that count for the quota. An entry counts with its key and its value, without its topic.
    /// Former states of rooms, before-images of entries and sums count nothing. Otherwise, a new build could upgrade rooms
    /// only while the plugin uses less than half of its quota. Jobs and deliveries have limits of their own. The size of former states is bounded by the size of the rooms
    /// when the probation began.
    pub(super) fn weight(&self, place: &Bytes, value: &Bytes) -> u64 {
        let bytes = place.len() - self.prefix_len() + value.len();
        let uncounted = match place.first() {
            Some(&(FORMERS | ENTRY_FORMERS | ENTRY_SUMS | JOBS | EXPIRIES | REQUEST_EXPIRIES | DELIVERIES)) => bytes,
            Some(&ENTRIES) => entry_overhead(&place[self.prefix_len()..]),
            _ => 0,
        };
        bytes.saturating_sub(uncounted) as u64
    }

    /// Returns the engine's key for an entry of a topic, or its before-image.
    pub(super) fn entry_place(&self, kind: Kind, topic: &str, key: &[u8]) -> Bytes {
        let prefix = self.prefix(kind);
        let mut place = BytesMut::with_capacity(prefix.len() + TOPIC_LENGTH + topic.len() + key.len());
        place.put_slice(prefix);
        put_entry_name(&mut place, topic, key);
        place.freeze()
    }

    /// Returns the span of the engine's keys for a range of a topic's entries.
    pub(super) fn entry_span(&self, topic: &str, start: &[u8], end: Option<&[u8]>) -> Span {
        let until = match end {
            Some(end) => self.entry_place(Kind::Entries, topic, end),
            None => after_prefix(&self.entry_place(Kind::Entries, topic, &[])),
        };
        Span { from: self.entry_place(Kind::Entries, topic, start), until }
    }

    /// Returns the span of the engine's keys for the before-images of a topic's entries.
    pub(super) fn entry_formers_span(&self, topic: &str) -> Span {
        let from = self.entry_place(Kind::EntryFormers, topic, &[]);
        Span { until: after_prefix(&from), from }
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

/// Whether drafts read keys of this kind, so that a write of the key can cause a conflict. Entries are read without a draft, and the times
/// at which keys and answers expire are only hints.
pub(super) fn is_read_by_drafts(place: &[u8]) -> bool {
    !matches!(place.first(), Some(&(ENTRIES | EXPIRIES | REQUEST_EXPIRIES)))
}

/// Whether a batch writes jobs. Most batches don't, so this neither allocates nor looks at each row.
pub(super) fn has_jobs(writes: &Writes) -> bool {
    let from_jobs = (Bound::Included(&[JOBS][..]), Bound::Unbounded);
    writes.range::<[u8], _>(from_jobs).next().is_some_and(|(place, _)| place.first() == Some(&JOBS))
}

/// Returns the spans of the rows that nodes of a cluster don't write, with their names.
pub(super) fn kept_spans() -> [(&'static str, Span); 3] {
    let rooms = Span { from: vec![ROOMS].into(), until: vec![ENTRY_SUMS + 1].into() };
    [("durable rooms", rooms), ("schedules", all_jobs()), ("deliveries", all_deliveries())]
}

/// Returns which rows of a batch a node of a cluster doesn't write, if there are any. The ledger refuses them too. Rooms and entries have no
/// footprint: a room's turns are the only ones that write it, and the ledger doesn't know yet which node has them. The boards of jobs
/// and deliveries don't see what other nodes write.
pub(super) fn kept_from_nodes(writes: &Writes) -> Option<&'static str> {
    let within = |(_, span): &(&str, Span)| writes.range::<Bytes, _>(&span.from..&span.until).next().is_some();
    kept_spans().into_iter().find(within).map(|(what, _)| what)
}

/// Returns the span of the jobs of all plugins.
pub(super) fn all_jobs() -> Span {
    Span { from: vec![JOBS].into(), until: vec![JOBS + 1].into() }
}

/// Whether a batch writes deliveries.
pub(super) fn has_deliveries(writes: &Writes) -> bool {
    let from_deliveries = (Bound::Included(&[DELIVERIES][..]), Bound::Unbounded);
    writes.range::<[u8], _>(from_deliveries).next().is_some_and(|(place, _)| place.first() == Some(&DELIVERIES))
}

/// Returns the span of the deliveries of all plugins.
pub(super) fn all_deliveries() -> Span {
    Span { from: vec![DELIVERIES].into(), until: vec![DELIVERIES + 1].into() }
}

/// Returns the spans of the times at which rows of all plugins expire: keys, and answers to requests.
pub(super) fn all_expiries() -> [(Kind, Span); 2] {
    let span = |kind: u8| Span { from: vec![kind].into(), until: vec![kind + 1].into() };
    [(Kind::Keys, span(EXPIRIES)), (Kind::Requests, span(REQUEST_EXPIRIES))]
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

/// Returns the spans of all data of plugins that an export contains.
pub(super) fn everything() -> [Span; 3] {
    [Span { from: vec![KEYS].into(), until: vec![ENTRY_SUMS].into() }, all_jobs(), all_deliveries()]
}

/// Returns the name of an entry in the store: its place and its key.
///
/// # Errors
/// If the topic or the key is empty or too long.
pub(super) fn entry_name(topic: &str, key: &[u8]) -> Result<Bytes, Oversize> {
    check_entry_topic(topic)?;
    match key.len() {
        0 => return Err(Oversize::NoKey),
        bytes if bytes > ENTRY_KEY_BYTES_MAX => return Err(Oversize::EntryKey { bytes, limit: ENTRY_KEY_BYTES_MAX }),
        _ => {}
    }
    let mut name = BytesMut::with_capacity(TOPIC_LENGTH + topic.len() + key.len());
    put_entry_name(&mut name, topic, key);
    Ok(name.freeze())
}

/// Checks that the length of a topic fits before the key of an entry.
///
/// # Errors
/// If it doesn't.
pub(super) fn check_entry_topic(topic: &str) -> Result<(), Oversize> {
    let (bytes, limit) = (topic.len(), usize::from(u16::MAX));
    if bytes > limit { Err(Oversize::Key { bytes, limit }) } else { Ok(()) }
}

fn put_entry_name(place: &mut BytesMut, topic: &str, key: &[u8]) {
    // The topic is checked before an entry is written. A longer topic has no entries, so the place doesn't matter.
    place.put_u16(u16::try_from(topic.len()).unwrap_or(u16::MAX));
    place.put_slice(topic.as_bytes());
    place.put_slice(key);
}

/// Splits the name of an entry in the store: its topic, and its key. Returns none if it is damaged.
pub(super) fn split_entry_name(name: &Bytes) -> Option<(&str, Bytes)> {
    let length = u16::from_be_bytes(name.get(..TOPIC_LENGTH)?.try_into().ok()?);
    let end = TOPIC_LENGTH + usize::from(length);
    Some((std::str::from_utf8(name.get(TOPIC_LENGTH..end)?).ok()?, name.slice(end..)))
}

/// The bytes of an entry's row that aren't its key or its value: its place, and the version in its value.
fn entry_overhead(name: &[u8]) -> usize {
    let length = name.first_chunk().map_or(0, |length| u16::from_be_bytes(*length));
    TOPIC_LENGTH + usize::from(length) + size_of::<u32>()
}

impl Place {
    /// Splits a key of the engine. Returns none if it doesn't belong to a plugin.
    pub(super) fn read(place: &Bytes) -> Option<Self> {
        let kind = match *place.first()? {
            KEYS => Kind::Keys,
            ROOMS => Kind::Rooms,
            FORMERS => Kind::Formers,
            ENTRIES => Kind::Entries,
            ENTRY_FORMERS => Kind::EntryFormers,
            ENTRY_SUMS => Kind::EntrySums,
            JOBS => Kind::Jobs,
            EXPIRIES => Kind::Expiries,
            REQUESTS => Kind::Requests,
            REQUEST_EXPIRIES => Kind::RequestExpiries,
            DELIVERIES => Kind::Deliveries,
            _ => return None,
        };
        let end = 2 + usize::from(*place.get(1)?);
        let plugin = String::from_utf8(place.get(2..end)?.to_vec()).ok()?;
        Some(Self { plugin, kind, name: place.slice(end..) })
    }
}

/// Returns the least key that is greater than all keys with the prefix. The prefix doesn't end with the byte 255, because
/// names and topics are UTF-8 and kinds are small numbers. So increasing its last byte can't overflow.
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
                    assert_eq!(
                        (everything().iter().any(holds), holds(&metadata_span(b""))),
                        (EXPORTED.contains(&kind), false)
                    );
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
    fn entries_of_topics_and_plugins_never_mix() {
        let long = "x".repeat(300);
        let topics = ["a", "ab", "b", "\0", "é", "\u{10ffff}", long.as_str()];
        let keys: [&[u8]; 6] = [b"\0", b"a", b"ab", b"b", b"\xff", &[255; 255]];
        for (topic, other) in topics.into_iter().flat_map(|topic| topics.map(|other| (topic, other))) {
            let all = owner("chat").entry_span(topic, b"", None);
            let from_a = owner("chat").entry_span(topic, b"a", Some(b"b"));
            for key in keys {
                let place = owner("chat").entry_place(Kind::Entries, other, key);
                let holds = |span: &Span| span.from <= place && place < span.until;
                assert_eq!(holds(&all), topic == other, "{topic} {other} {key:?}");
                assert_eq!(holds(&from_a), topic == other && key >= &b"a"[..] && key < &b"b"[..]);
                let elsewhere = owner("a").entry_place(Kind::Entries, other, key);
                assert!(!(all.from <= elsewhere && elsewhere < all.until));
                let name = Place::read(&place).unwrap().name;
                assert_eq!(name, entry_name(other, key).unwrap());
                let (read_topic, read_key) = split_entry_name(&name).unwrap();
                assert_eq!((read_topic, read_key.as_ref()), (other, key));
                // The version is four bytes of the row's value.
                let row = Bytes::from_static(b"\0\0\0\x01value");
                assert_eq!(owner("chat").weight(&place, &row), (key.len() + 5) as u64);
                let former = owner("chat").entry_place(Kind::EntryFormers, other, key);
                assert_eq!(owner("chat").weight(&former, &row), 0);
            }
        }
        assert_eq!(entry_name(&"x".repeat(1 << 16), b"k").unwrap_err(), Oversize::Key { bytes: 65536, limit: 65535 });
        assert_eq!(entry_name("a", &[0; 256]).unwrap_err(), Oversize::EntryKey { bytes: 256, limit: 255 });
        assert_eq!(entry_name("a", b"").unwrap_err(), Oversize::NoKey);
    }

    #[test]
    fn empty_and_long_names_are_refused() {
        for name in ["", "x".repeat(256).as_str()] {
            assert_eq!(Owner::new(name, 0).unwrap_err(), Oversize::Name { bytes: name.len(), limit: 255 });
        }
        assert!(Place::read(&metadata_key(b"format")).is_none());
    }
}
