//! One call's view of the store: its snapshot, the keys that it has read, and its writes so far.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::engine::{Direction, EngineError, Row, Rows, ScanLimit, Snapshot, Span, Writes, successor};
use super::footprint::Footprint;
use super::health::Health;
use super::metadata;
use super::overlay;
use super::revision::Revision;
use super::scan::{Page, Scan};
use super::space::{Kind, Owner};
use super::sweep::expiry_name;
use bennu_semantics::lifetime;
use bennu_semantics::limits::{Oversize, StoreLimits};

/// The content at a revision.
pub(super) struct Seen {
    pub(super) revision: Revision,
    pub(super) snapshot: Arc<dyn Snapshot>,
    /// How often the engine had been reopened when the snapshot was taken.
    pub(super) opening: u64,
    /// Receives reports of failed reads.
    pub(super) health: Arc<Health>,
    /// The limits of drafts. They are here, so that a draft is small.
    pub(super) limits: StoreLimits,
}

/// A call's reads and writes, until [`Store::commit`](super::Store::commit) stores them.
///
/// It reads the store as it was when the draft began, with the draft's own writes laid over. So it never sees a part of
/// another commit. Dropping the draft discards its writes.
pub struct Draft {
    pub(super) owner: Owner,
    pub(super) seen: Arc<Seen>,
    /// The revision of the first read, or a later one: see [`since`](Self::since). It is older than that of `seen` if the draft was
    /// paused.
    since: Revision,
    /// By the engine's keys.
    pub(super) writes: Writes,
    /// The number of writes to the plugin's own keys, and their bytes. The writes of the host to rooms aren't counted.
    own: (usize, usize),
    pub(super) footprint: Footprint,
    /// The time by which the draft judges whether a key has expired, in milliseconds since 1970.
    pub(super) now_ms: u64,
}

/// A draft without a snapshot, while its call waits for something that may take long: the engine keeps all that a snapshot shows.
/// [`Store::resume`](super::Store::resume) continues it.
pub struct PausedDraft {
    owner: Owner,
    since: Revision,
    writes: Writes,
    own: (usize, usize),
    footprint: Footprint,
    now_ms: u64,
}

/// The most former states of rooms that are read at once.
const FORMERS_AT_ONCE: ScanLimit = ScanLimit { rows: 200, bytes: 1 << 20 };

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The key is empty or too long.
    Oversize(Oversize),
    /// The engine failed.
    Failed(EngineError),
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("plugin", &self.owner.name()).field("writes", &self.writes.len()).finish()
    }
}

/// All reads outside the committer are made through these functions, so that the committer learns of each broken engine.
impl Seen {
    /// What one draft reads of a ledger, or, by a view without a plugin, the latest rows.
    pub(super) fn of_ledger(snapshot: Arc<dyn Snapshot>, health: &Arc<Health>, limits: StoreLimits) -> Self {
        Self { revision: Revision::UNREAD, snapshot, opening: 0, health: Arc::clone(health), limits }
    }

    /// Returns the value of an engine key, or none if the key isn't there.
    pub(super) async fn value(&self, place: &Bytes) -> Result<Option<Bytes>, EngineError> {
        self.report_error(self.snapshot.get(place).await)
    }

    /// Returns a number of the store's metadata, or none if the key isn't there.
    pub(super) async fn number(&self, place: &Bytes) -> Result<Option<u64>, EngineError> {
        self.report_error(metadata::read(&*self.snapshot, place).await)
    }

    /// Returns the rows of a span, in the order of their keys.
    pub(super) async fn rows(&self, span: &Span, limit: ScanLimit) -> Result<Rows, EngineError> {
        self.rows_in(span, Direction::Forward, limit).await
    }

    /// Returns the rows of a span in this direction.
    pub(super) async fn rows_in(
        &self,
        span: &Span,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<Rows, EngineError> {
        self.report_error(self.snapshot.scan(span, direction, limit).await)
    }

    /// Returns the result of a read. Reports an error to the committer, which reopens the engine if it is broken.
    pub(super) fn report_error<T>(&self, read: Result<T, EngineError>) -> Result<T, EngineError> {
        read.inspect_err(|error| self.health.report(self.opening, error))
    }
}

impl Draft {
    pub(super) fn new(owner: Owner, seen: Arc<Seen>, now_ms: u64) -> Self {
        let since = seen.revision;
        Self { owner, seen, since, writes: Writes::new(), own: (0, 0), footprint: Footprint::default(), now_ms }
    }

    /// Releases the snapshot. What was read stays in the footprint, so the commit checks it.
    #[must_use]
    pub fn pause(self) -> PausedDraft {
        let since = self.since();
        let Self { owner, seen: _, since: _, writes, own, footprint, now_ms } = self;
        PausedDraft { owner, since, writes, own, footprint, now_ms }
    }

    /// Returns a draft without writes that sees the store as this one does.
    pub(crate) fn begin_again(&self) -> Self {
        Self::new(self.owner.clone(), Arc::clone(&self.seen), self.now_ms)
    }

    /// Discards the writes. What was read stays in the footprint.
    pub fn discard_writes(&mut self) {
        self.writes = Writes::new();
        self.own = (0, 0);
    }

    /// Returns the writes of the call, in the order of their keys. A key without a value is deleted.
    pub(crate) fn own_writes(&self) -> Vec<(Bytes, Option<Bytes>)> {
        let writes = self.writes.iter();
        writes.map(|(place, value)| (self.owner.name_of(place), value.clone())).collect()
    }

    /// The revision of the first read. A conflict is a write after it to a key that was read.
    pub(super) fn since(&self) -> Revision {
        self.seen.snapshot.since().map_or(self.since, |read| read.min(self.since))
    }

    /// Returns the plugin whose keys the draft reads and writes.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Commits the draft for another generation of its plugin: that one serves, and the draft is its answer.
    pub(crate) fn commit_for(&mut self, owner: &Owner) {
        debug_assert_eq!(self.owner.name(), owner.name(), "both are of one plugin");
        self.owner = owner.clone();
    }

    pub(super) fn limits(&self) -> &StoreLimits {
        &self.seen.limits
    }

    /// Whether it has read anything that another commit can change.
    #[must_use]
    pub fn has_reads(&self) -> bool {
        !self.footprint.is_empty()
    }

    /// Whether it has written anything.
    #[must_use]
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Returns the value of a key, or none if the key isn't there.
    ///
    /// # Errors
    /// If the key is empty or too long, or the engine fails.
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.seen.limits.check_key(key)?;
        let place = self.owner.place(Kind::Keys, key);
        let stored = self.value(&place).await?;
        Ok(stored.filter(|stored| !lifetime::is_expired(stored, self.now_ms)).map(|stored| lifetime::open(stored).0))
    }

    /// Returns the rows of a range, in order, up to the limits of the scan and of the store. The page says what is left. Keys that
    /// have expired are left out.
    ///
    /// # Errors
    /// If a bound is longer than a key may be, or the engine fails.
    pub async fn scan(&mut self, scan: &Scan) -> Result<Page, ReadError> {
        let mut page = self.scan_stored(scan).await?;
        loop {
            let found = page.rows.len();
            page.rows.retain(|(_, stored)| !lifetime::is_expired(stored, self.now_ms));
            // A reader takes an empty page for the end of the range.
            match page.rest.take() {
                Some(rest) if page.rows.is_empty() && found > 0 => page = self.scan_stored(&rest).await?,
                rest => {
                    page.rows.iter_mut().for_each(|(_, value)| *value = lifetime::open(std::mem::take(value)).0);
                    return Ok(Page { rest, ..page });
                }
            }
        }
    }

    /// The rows of a range with their stored values.
    async fn scan_stored(&mut self, scan: &Scan) -> Result<Page, ReadError> {
        // One byte more than a key may have: the successor of the longest key is a valid bound.
        let limit = self.seen.limits.key_bytes + 1;
        for bound in std::iter::once(&scan.from).chain(&scan.until) {
            if bound.len() > limit {
                return Err(Oversize::Key { bytes: bound.len(), limit }.into());
            }
        }
        let all = self.owner.span(Kind::Keys);
        let until = scan.until.as_ref().map_or(all.until, |until| self.owner.place(Kind::Keys, until));
        let span = Span { from: self.owner.place(Kind::Keys, &scan.from), until };
        let limit = ScanLimit {
            rows: scan.rows.clamp(1, self.seen.limits.scan_rows.max(1)),
            bytes: scan.bytes.min(self.seen.limits.scan_bytes),
        };
        let prefix = self.owner.prefix_len();
        let found = overlay::scan(&*self.seen.snapshot, &self.writes, &span, scan.direction, limit, prefix).await;
        let found = self.seen.report_error(found)?;
        self.footprint.add(found.seen, self.seen.limits.reads_per_call);
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
    /// If the key is empty, if the key or the value is too long, or if the call writes too much.
    pub fn put(&mut self, key: &[u8], value: Bytes) -> Result<(), Oversize> {
        self.seen.limits.check_value(&value)?;
        self.write(key, Some(lifetime::plain(value)))
    }

    /// Sets the value of a key for a time in milliseconds.
    ///
    /// # Errors
    /// See [`put`](Self::put).
    pub fn put_expiring(&mut self, key: &[u8], value: &[u8], milliseconds: u64) -> Result<(), Oversize> {
        self.seen.limits.check_value(value)?;
        self.put_stored(key, lifetime::seal(value, self.now_ms.saturating_add(milliseconds)))
    }

    /// Sets the stored form of a key's value, as it was exported.
    pub(super) fn put_stored(&mut self, key: &[u8], stored: Bytes) -> Result<(), Oversize> {
        let (value, expires_ms) = lifetime::open(stored.clone());
        self.seen.limits.check_value(&value)?;
        if let Some(expires_ms) = expires_ms {
            let place = self.owner.place(Kind::Expiries, &expiry_name(expires_ms, key));
            self.writes.insert(place, Some(Bytes::new()));
        }
        self.write(key, Some(stored))
    }

    /// Deletes a key, whether it is there or not.
    ///
    /// # Errors
    /// If the key is empty or too long, or the call writes too much.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Oversize> {
        self.write(key, None)
    }

    /// Returns the durable room of a topic, if there is one.
    ///
    /// # Errors
    /// If the topic is longer than a key may be, or the engine fails.
    pub async fn room(&mut self, topic: &str) -> Result<Option<Bytes>, ReadError> {
        self.seen.limits.check_key(topic.as_bytes())?;
        let place = self.owner.place(Kind::Rooms, topic.as_bytes());
        self.value(&place).await
    }

    /// Sets the durable room of a topic, or removes it. The host does this, once per call. So it doesn't count for the
    /// limits of a call's writes.
    ///
    /// # Errors
    /// If the topic or the room is too long.
    pub fn set_room(&mut self, topic: &str, room: Option<Bytes>) -> Result<(), Oversize> {
        self.seen.limits.check_key(topic.as_bytes())?;
        self.seen.limits.check_room(room.as_deref().unwrap_or_default())?;
        self.writes.insert(self.owner.place(Kind::Rooms, topic.as_bytes()), room);
        Ok(())
    }

    /// Returns the former state of a topic's durable room, if one is kept: the stored bytes from before a build on probation
    /// upgraded the room.
    ///
    /// # Errors
    /// If the topic is longer than a key may be, or the engine fails.
    pub async fn former(&mut self, topic: &str) -> Result<Option<Bytes>, ReadError> {
        self.seen.limits.check_key(topic.as_bytes())?;
        let place = self.owner.place(Kind::Formers, topic.as_bytes());
        self.value(&place).await
    }

    /// Returns former states with their topics, in the order of the topics: those after `topic`, or from the first one, at
    /// most 200 and about 1 MiB. It doesn't see the draft's own writes.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn formers_after(&mut self, topic: Option<&Bytes>) -> Result<Vec<Row>, ReadError> {
        let all = self.owner.span(Kind::Formers);
        let from = topic.map_or(all.from, |topic| successor(&self.owner.place(Kind::Formers, topic)));
        let span = Span { from, until: all.until };
        let found = self.seen.rows(&span, FORMERS_AT_ONCE).await?;
        for (place, _) in &found.rows {
            self.footprint.add_key(place, self.seen.limits.reads_per_call);
        }
        Ok(found.rows.into_iter().map(|(place, value)| (self.owner.name_of(&place), value)).collect())
    }

    /// Stores the former state of a topic's durable room, or removes it. The host does this. It counts neither for the
    /// limits of a call's writes nor for the plugin's quota.
    ///
    /// # Errors
    /// If the topic is longer than a key may be.
    pub fn set_former(&mut self, topic: &str, former: Option<Bytes>) -> Result<(), Oversize> {
        self.seen.limits.check_key(topic.as_bytes())?;
        self.writes.insert(self.owner.place(Kind::Formers, topic.as_bytes()), former);
        Ok(())
    }

    pub(super) async fn value(&mut self, place: &Bytes) -> Result<Option<Bytes>, ReadError> {
        if let Some(written) = self.writes.get(place) {
            return Ok(written.clone());
        }
        let value = self.seen.value(place).await?;
        self.footprint.add_key(place, self.seen.limits.reads_per_call);
        Ok(value)
    }

    fn write(&mut self, key: &[u8], value: Option<Bytes>) -> Result<(), Oversize> {
        self.seen.limits.check_key(key)?;
        let place = self.owner.place(Kind::Keys, key);
        self.write_own(place, value)
    }

    /// Writes a row of the plugin, within the limits of a call's writes.
    pub(super) fn write_own(&mut self, place: Bytes, value: Option<Bytes>) -> Result<(), Oversize> {
        let name = place.len() - self.owner.prefix_len();
        let size = |value: &Option<Bytes>| name + value.as_ref().map_or(0, Bytes::len);
        let (mut rows, mut bytes) = self.own;
        if let Some(before) = self.writes.get(&place) {
            (rows, bytes) = (rows - 1, bytes - size(before));
        }
        (rows, bytes) = (rows + 1, bytes + size(&value));
        if rows > self.seen.limits.writes_per_call {
            return Err(Oversize::Writes { limit: self.seen.limits.writes_per_call });
        }
        if bytes > self.seen.limits.write_bytes_per_call {
            return Err(Oversize::WriteBytes { limit: self.seen.limits.write_bytes_per_call });
        }
        self.own = (rows, bytes);
        self.writes.insert(place, value);
        Ok(())
    }

    /// Returns about how many bytes of memory the draft takes.
    pub(super) fn weight(&self) -> usize {
        /// Bytes that a map entry takes, without the bytes of its key and value.
        const ENTRY: usize = 128;
        let written = self.writes.iter().map(|(key, value)| ENTRY + key.len() + value.as_ref().map_or(0, Bytes::len));
        let read = self.footprint.spans().map(|(from, until)| ENTRY + from.len() + until.len());
        size_of::<Self>() + written.sum::<usize>() + read.sum::<usize>()
    }
}

impl PausedDraft {
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Continues on a new snapshot. If nothing was read before, the draft begins anew with its writes. Otherwise a later read
    /// counts as if it had been made with the earlier ones: a key that has changed in between is a conflict.
    pub(super) fn resume(self, seen: Arc<Seen>) -> Draft {
        let Self { owner, since, writes, own, footprint, now_ms } = self;
        let since = if footprint.is_empty() { seen.revision } else { since };
        Draft { owner, seen, since, writes, own, footprint, now_ms }
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
