//! The messages between replicas: parts of the set, as values and as checked records.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{PresenceEntry, Replica, Seen, Share};
use crate::protocol::{NAME_BYTES_MAX, Topic, read_object};

/// A part of the set, or the whole set: some writes of some replicas. For serde it is a plain record, and a record that
/// is read is checked. The transport must limit the bytes of a record itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Record", into = "Record")]
pub struct Delta {
    pub(super) shares: BTreeMap<Replica, Share>,
}

/// Why a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeltaError {
    /// It has more than [`Delta::REPLICAS_MAX`] replicas.
    Replicas,
    /// A name, topic, key or meta is longer than any replica writes it.
    TooLong,
    /// A meta is not a JSON object.
    Meta,
    /// A clock is 0 or larger than [`Delta::CLOCK_MAX`], or an entry replaces a later one.
    Clock,
    /// A replica or an entry occurs twice, or the clock of an entry or a write is not among the known clocks.
    Inconsistent,
}

impl fmt::Display for DeltaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replicas => "there are too many replicas",
            Self::TooLong => "a name, topic, key or meta is too long",
            Self::Meta => "a meta is not a JSON object",
            Self::Clock => "a clock is out of range",
            Self::Inconsistent => {
                "a replica or an entry occurs twice, or the clock of an entry or a write is not a known one"
            }
        })
    }
}

impl std::error::Error for DeltaError {}

impl Delta {
    /// The most replicas in one delta.
    pub const REPLICAS_MAX: usize = 1024;

    /// The most bytes of a meta from another node. The limit for plugins is lower.
    pub const META_BYTES_MAX: usize = 64 << 10;

    /// The largest clock. A JSON number represents it exactly, and no node lives long enough to reach it.
    pub const CLOCK_MAX: u64 = 1 << 53;

    /// Returns each replica's share.
    #[must_use]
    pub fn shares(&self) -> &BTreeMap<Replica, Share> {
        &self.shares
    }

    /// Whether it has no writes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Merges another delta into this one.
    pub fn merge(&mut self, other: &Self) {
        for (replica, share) in &other.shares {
            self.shares.entry(replica.clone()).or_default().merge(share);
        }
    }
}

/// The serialized form of a delta.
#[derive(Serialize, Deserialize)]
struct Record {
    shares: Vec<ShareRecord>,
}

#[derive(Serialize, Deserialize)]
struct ShareRecord {
    name: String,
    shard: u16,
    incarnation: u64,
    through: u64,
    beyond: Vec<u64>,
    written_through: u64,
    written_beyond: Vec<u64>,
    entries: Vec<EntryRecord>,
}

#[derive(Serialize, Deserialize)]
struct EntryRecord {
    clock: u64,
    before: Option<u64>,
    topic: String,
    key: String,
    member: u64,
    meta: String,
}

impl From<Delta> for Record {
    fn from(delta: Delta) -> Self {
        Self { shares: delta.shares.iter().map(|(replica, share)| ShareRecord::of(replica, share)).collect() }
    }
}

impl ShareRecord {
    fn of(replica: &Replica, share: &Share) -> Self {
        Self {
            name: replica.name().to_owned(),
            shard: replica.shard(),
            incarnation: replica.incarnation(),
            through: share.seen().through(),
            beyond: share.seen().beyond().iter().copied().collect(),
            written_through: share.writes().through(),
            written_beyond: share.writes().beyond().iter().copied().collect(),
            entries: share.entries().map(|entry| EntryRecord::of(entry)).collect(),
        }
    }

    fn check(self) -> Result<(Replica, Share), DeltaError> {
        if self.name.len() > NAME_BYTES_MAX {
            return Err(DeltaError::TooLong);
        }
        let beyond = || self.beyond.iter().chain(&self.written_beyond);
        let clocks = || beyond().chain(self.entries.iter().map(|entry| &entry.clock));
        if self.through.max(self.written_through) > Delta::CLOCK_MAX
            || clocks().any(|clock| *clock == 0 || *clock > Delta::CLOCK_MAX)
        {
            return Err(DeltaError::Clock);
        }
        let replica = Replica::new(&self.name, self.shard, self.incarnation);
        let seen = Seen::new(self.through, self.beyond.into_iter().collect());
        let count = self.entries.len();
        let entries: Vec<_> =
            self.entries.into_iter().map(|entry| entry.check(&replica, &seen)).collect::<Result<_, _>>()?;
        let writes = Seen::new(self.written_through, self.written_beyond.into_iter().collect());
        if !seen.includes(&writes) {
            return Err(DeltaError::Inconsistent);
        }
        let share = Share::new(seen, writes, entries);
        if share.entries().count() != count {
            return Err(DeltaError::Inconsistent);
        }
        Ok((replica, share))
    }
}

impl EntryRecord {
    fn of(entry: &PresenceEntry) -> Self {
        let PresenceEntry { clock, before, member, .. } = *entry;
        let (topic, key, meta) = (entry.topic.to_string(), entry.key.to_string(), entry.meta.to_string());
        Self { clock, before, topic, key, member, meta }
    }

    fn check(self, replica: &Replica, seen: &Seen) -> Result<Arc<PresenceEntry>, DeltaError> {
        let Self { clock, before, topic, key, member, meta } = self;
        if topic.len() > NAME_BYTES_MAX || key.len() > NAME_BYTES_MAX || meta.len() > Delta::META_BYTES_MAX {
            return Err(DeltaError::TooLong);
        }
        if before.is_some_and(|before| before >= clock) {
            return Err(DeltaError::Clock);
        }
        if !seen.contains(clock) {
            return Err(DeltaError::Inconsistent);
        }
        // The meta is later inserted into other JSON and read there.
        read_object(&meta).map_err(|_| DeltaError::Meta)?;
        let (replica, topic, key, meta) = (replica.clone(), Topic::new(&topic), key.into(), meta.into());
        Ok(Arc::new(PresenceEntry { replica, clock, before, topic, key, member, meta }))
    }
}

impl TryFrom<Record> for Delta {
    type Error = DeltaError;

    fn try_from(record: Record) -> Result<Self, DeltaError> {
        let count = record.shares.len();
        if count > Self::REPLICAS_MAX {
            return Err(DeltaError::Replicas);
        }
        let shares: BTreeMap<_, _> = record.shares.into_iter().map(ShareRecord::check).collect::<Result<_, _>>()?;
        if shares.len() != count {
            return Err(DeltaError::Inconsistent);
        }
        Ok(Self { shares })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Reads a delta with one entry, after `change` has edited its share.
    fn read(change: impl Fn(&mut Value)) -> Result<Delta, String> {
        let entry = json!({"clock": 2, "before": 1, "topic": "t", "key": "k", "member": 1, "meta": "{\"a\":1}"});
        let mut share = json!({"name": "a", "shard": 0, "incarnation": 1, "through": 2, "beyond": [4], "written_through": 1, "written_beyond": [4], "entries": [entry]});
        change(&mut share);
        serde_json::from_value(json!({"shares": [share]})).map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn records_that_no_replica_writes_are_refused() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let large = json!({ "x": "x".repeat(Delta::META_BYTES_MAX) }).to_string();
        let cases: [(&str, Value, DeltaError); 20] = [
            ("/name", json!(long), DeltaError::TooLong),
            ("/entries/0/topic", json!(long), DeltaError::TooLong),
            ("/entries/0/key", json!(long), DeltaError::TooLong),
            ("/entries/0/meta", json!(large), DeltaError::TooLong),
            ("/entries/0/meta", json!("[1]"), DeltaError::Meta),
            ("/entries/0/meta", json!(""), DeltaError::Meta),
            ("/entries/0/meta", json!("{}}"), DeltaError::Meta),
            ("/entries/0/meta", json!("{\"a\":1},{}"), DeltaError::Meta),
            ("/entries/0/clock", json!(0), DeltaError::Clock),
            ("/entries/0/clock", json!(u64::MAX), DeltaError::Clock),
            ("/entries/0/before", json!(2), DeltaError::Clock),
            ("/through", json!(u64::MAX), DeltaError::Clock),
            ("/beyond/0", json!(0), DeltaError::Clock),
            ("/beyond/0", json!(Delta::CLOCK_MAX + 1), DeltaError::Clock),
            ("/written_through", json!(u64::MAX), DeltaError::Clock),
            ("/written_beyond/0", json!(0), DeltaError::Clock),
            ("/written_through", json!(3), DeltaError::Inconsistent),
            ("/written_beyond/0", json!(6), DeltaError::Inconsistent),
            ("/through", json!(1), DeltaError::Inconsistent),
            ("/entries/0/clock", json!(3), DeltaError::Inconsistent),
        ];
        assert!(read(|_| {}).is_ok());
        for (at, value, error) in cases {
            let outcome = read(|share| *share.pointer_mut(at).unwrap() = value.clone());
            assert_eq!(outcome, Err(error.to_string()), "{at}");
        }
    }

    #[test]
    fn duplicates_and_too_many_replicas_are_refused() {
        let twice = read(|share| share["entries"] = json!([share["entries"][0], share["entries"][0]]));
        assert_eq!(twice, Err(DeltaError::Inconsistent.to_string()));
        let share = |name: usize| json!({"name": name.to_string(), "shard": 0, "incarnation": 1, "through": 0, "beyond": [], "written_through": 0, "written_beyond": [], "entries": []});
        let outcome = |names: Vec<usize>| {
            let shares: Vec<_> = names.into_iter().map(share).collect();
            serde_json::from_value::<Delta>(json!({ "shares": shares })).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(outcome((0..Delta::REPLICAS_MAX).collect()), Ok(()));
        assert_eq!(outcome((0..=Delta::REPLICAS_MAX).collect()), Err(DeltaError::Replicas.to_string()));
        assert_eq!(outcome(vec![1, 1]), Err(DeltaError::Inconsistent.to_string()));
    }
}
