//! One call's view of the store: what it read, and what it has written so far.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::engine::{Direction, EngineError, Row, ScanLimit, Snapshot, Span, Writes, successor};
use super::footprint::Footprint;
use super::health::Health;
use super::limits::{Oversize, StoreLimits};
use super::overlay;
use super::scan::{Page, Scan};
use super::space::{Kind, Owner};

/// How many batches have been committed since the host's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub(super) u64);

/// The content as of a revision.
pub(super) struct Seen {
    pub(super) revision: Revision,
    pub(super) snapshot: Arc<dyn Snapshot>,
    /// How often the engine had been opened anew.
    pub(super) opening: u64,
    /// Who is told where it can't be read.
    pub(super) health: Arc<Health>,
}

/// What a call reads and writes, until [`Store::commit`](super::Store::commit) makes it so.
///
/// It reads the store as it was when it began, with its own writes laid over: whatever others commit meanwhile, it never
/// sees the half of it. Dropping it does nothing.
pub struct Draft {
    pub(super) owner: Owner,
    pub(super) seen: Arc<Seen>,
    limits: StoreLimits,
    /// By the engine's keys.
    pub(super) writes: Writes,
    /// How many of them are the plugin's own keys, and their bytes.
    own: (usize, usize),
    pub(super) footprint: Footprint,
}

/// How many former states of rooms are read at once.
const FORMERS_AT_ONCE: ScanLimit = ScanLimit { rows: 200, bytes: 1 << 20 };

/// Why something couldn't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The key is no such one.
    Oversize(Oversize),
    /// The engine failed.
    Failed(EngineError),
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("plugin", &self.owner.name()).field("writes", &self.writes.len()).finish()
    }
}

impl Seen {
    /// What was read. If nothing works any more, the one who writes learns of it.
    pub(super) fn told<T>(&self, read: Result<T, EngineError>) -> Result<T, EngineError> {
        read.inspect_err(|error| self.health.report(self.opening, error))
    }
}

impl Draft {
    pub(super) fn new(owner: Owner, seen: Arc<Seen>, limits: StoreLimits) -> Self {
        Self { owner, seen, limits, writes: Writes::new(), own: (0, 0), footprint: Footprint::default() }
    }

    /// The plugin whose keys it reads and writes.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Whether it has read anything that others may write.
    #[must_use]
    pub fn has_reads(&self) -> bool {
        !self.footprint.is_empty()
    }

    /// Whether it has written anything.
    #[must_use]
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// The value of a key, if it is there.
    ///
    /// # Errors
    /// Where it can't be a key, or the engine fails.
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.limits.check_key(key)?;
        let place = self.owner.place(Kind::Keys, key);
        self.value(&place).await
    }

    /// The rows of a range, in order. How many there are at most is the least of what was asked for and what the store
    /// gives at once.
    ///
    /// # Errors
    /// Where a bound is longer than a key may be, or the engine fails.
    pub async fn scan(&mut self, scan: &Scan) -> Result<Page, ReadError> {
        // The successor of the longest key is a fine bound.
        let limit = self.limits.key_bytes + 1;
        for bound in std::iter::once(&scan.from).chain(&scan.until) {
            if bound.len() > limit {
                return Err(Oversize::Key { bytes: bound.len(), limit }.into());
            }
        }
        let all = self.owner.span(Kind::Keys);
        let until = scan.until.as_ref().map_or(all.until, |until| self.owner.place(Kind::Keys, until));
        let span = Span { from: self.owner.place(Kind::Keys, &scan.from), until };
        let limit = ScanLimit {
            rows: scan.rows.clamp(1, self.limits.scan_rows.max(1)),
            bytes: scan.bytes.min(self.limits.scan_bytes),
        };
        let prefix = self.owner.prefix_len();
        let found = overlay::scan(&*self.seen.snapshot, &self.writes, &span, scan.direction, limit, prefix).await;
        let found = self.seen.told(found)?;
        self.footprint.add(found.seen, self.limits.reads_per_call);
        let rest = found.rest.map(|rest| Scan {
            from: self.owner.name_of(&rest.from),
            until: if rest.until == span.until { scan.until.clone() } else { Some(self.owner.name_of(&rest.until)) },
            ..scan.clone()
        });
        let rows = found.rows.into_iter().map(|(place, value)| (self.owner.name_of(&place), value)).collect();
        Ok(Page { rows, rest })
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// Where the key or the value is too long, or the call writes too much.
    pub fn put(&mut self, key: &[u8], value: Bytes) -> Result<(), Oversize> {
        self.limits.check_value(&value)?;
        self.write(key, Some(value))
    }

    /// Deletes a key, whether it is there or not.
    ///
    /// # Errors
    /// Where it can't be a key, or the call writes too much.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Oversize> {
        self.write(key, None)
    }

    /// The durable room of a topic, if there is one.
    ///
    /// # Errors
    /// Where the topic is longer than a key may be, or the engine fails.
    pub async fn room(&mut self, topic: &str) -> Result<Option<Bytes>, ReadError> {
        self.limits.check_key(topic.as_bytes())?;
        let place = self.owner.place(Kind::Rooms, topic.as_bytes());
        self.value(&place).await
    }

    /// Sets the durable room of a topic, or takes it away. It is the host that does so, once a call, and so it isn't counted
    /// among what the call writes.
    ///
    /// # Errors
    /// Where the topic or the room is too long.
    pub fn set_room(&mut self, topic: &str, room: Option<Bytes>) -> Result<(), Oversize> {
        self.limits.check_key(topic.as_bytes())?;
        self.limits.check_room(room.as_deref().unwrap_or_default())?;
        self.writes.insert(self.owner.place(Kind::Rooms, topic.as_bytes()), room);
        Ok(())
    }

    /// What the durable room of a topic was before a build on probation took it over, as it was stored, if there is such.
    ///
    /// # Errors
    /// Where the topic is longer than a key may be, or the engine fails.
    pub async fn former(&mut self, topic: &str) -> Result<Option<Bytes>, ReadError> {
        self.limits.check_key(topic.as_bytes())?;
        let place = self.owner.place(Kind::Formers, topic.as_bytes());
        self.value(&place).await
    }

    /// The same for the topics behind one, in their order, some hundreds at most: each with what is stored. It doesn't see what
    /// the draft itself has written.
    ///
    /// # Errors
    /// Where the engine fails.
    pub async fn formers_after(&mut self, topic: Option<&Bytes>) -> Result<Vec<Row>, ReadError> {
        let all = self.owner.span(Kind::Formers);
        let from = topic.map_or(all.from, |topic| successor(&self.owner.place(Kind::Formers, topic)));
        let span = Span { from, until: all.until };
        let found = self.seen.snapshot.scan(&span, Direction::Forward, FORMERS_AT_ONCE).await?;
        for (place, _) in &found.rows {
            self.footprint.add_key(place, self.limits.reads_per_call);
        }
        Ok(found.rows.into_iter().map(|(place, value)| (self.owner.name_of(&place), value)).collect())
    }

    /// Stores what the durable room of a topic was before, or takes it away. It is the host that does so, as with the room, and
    /// it counts neither among what the call writes nor in the plugin's quota.
    ///
    /// # Errors
    /// Where the topic is longer than a key may be.
    pub fn set_former(&mut self, topic: &str, former: Option<Bytes>) -> Result<(), Oversize> {
        self.limits.check_key(topic.as_bytes())?;
        self.writes.insert(self.owner.place(Kind::Formers, topic.as_bytes()), former);
        Ok(())
    }

    async fn value(&mut self, place: &Bytes) -> Result<Option<Bytes>, ReadError> {
        if let Some(written) = self.writes.get(place) {
            return Ok(written.clone());
        }
        let value = self.seen.told(self.seen.snapshot.get(place).await)?;
        self.footprint.add_key(place, self.limits.reads_per_call);
        Ok(value)
    }

    fn write(&mut self, key: &[u8], value: Option<Bytes>) -> Result<(), Oversize> {
        self.limits.check_key(key)?;
        let place = self.owner.place(Kind::Keys, key);
        let size = |value: &Option<Bytes>| key.len() + value.as_ref().map_or(0, Bytes::len);
        let (mut rows, mut bytes) = self.own;
        if let Some(before) = self.writes.get(&place) {
            (rows, bytes) = (rows - 1, bytes - size(before));
        }
        (rows, bytes) = (rows + 1, bytes + size(&value));
        if rows > self.limits.writes_per_call {
            return Err(Oversize::Writes { limit: self.limits.writes_per_call });
        }
        if bytes > self.limits.write_bytes_per_call {
            return Err(Oversize::WriteBytes { limit: self.limits.write_bytes_per_call });
        }
        self.own = (rows, bytes);
        self.writes.insert(place, value);
        Ok(())
    }

    /// About how much memory it takes.
    pub(super) fn weight(&self) -> usize {
        /// What an entry of a map and a slice of bytes take.
        const ENTRY: usize = 128;
        let written = self.writes.iter().map(|(key, value)| ENTRY + key.len() + value.as_ref().map_or(0, Bytes::len));
        let read = self.footprint.spans().map(|(from, until)| ENTRY + from.len() + until.len());
        size_of::<Self>() + written.sum::<usize>() + read.sum::<usize>()
    }
}

impl Revision {
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl From<Oversize> for ReadError {
    fn from(oversize: Oversize) -> Self {
        Self::Oversize(oversize)
    }
}

impl From<EngineError> for ReadError {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oversize(oversize) => oversize.fmt(f),
            Self::Failed(error) => write!(f, "the store can't be read: {error}"),
        }
    }
}

impl std::error::Error for ReadError {}
