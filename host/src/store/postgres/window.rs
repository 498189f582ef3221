//! The rows that were written or read lately, in memory.
//!
//! For each of these keys the window has the value now, and the values that snapshots still need: those that were replaced since
//! the oldest snapshot. A key that isn't in the window was therefore not written since the oldest snapshot, so its value in the
//! database is right for all of them. Values that no snapshot needs stay as a cache, up to a number of bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::counts::Limit;
use crate::store::engine::{Direction, Span, Writes};
use crate::store::versions::{Versions, version_at};

/// The window. Snapshots read it on other threads while the committer writes.
pub(super) struct Window {
    inner: Mutex<Inner>,
}

struct Inner {
    /// The values of a key by the batches that wrote them. The first one is that before all of these batches; its number is 0, or
    /// that of a batch that no snapshot distinguishes from it.
    keys: BTreeMap<Bytes, Versions>,
    /// The keys in the order in which they were added or written, with the number of the batch.
    order: VecDeque<(u64, Bytes)>,
    bytes: usize,
    /// The last batch that snapshots may see.
    batch: u64,
    /// The number of snapshots of each batch that has any.
    snapshots: BTreeMap<u64, usize>,
    /// Snapshots before this batch can't be read any more.
    horizon: u64,
    limits: WindowLimits,
}

/// The sizes of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowLimits {
    /// Bytes of values that no snapshot needs.
    pub(super) cache_bytes: usize,
    /// Bytes of all values. Past it, old snapshots end.
    pub(super) bytes_max: usize,
}

/// The values of keys before a batch.
pub(super) type Before = BTreeMap<Bytes, Option<Bytes>>;

/// A snapshot is too old: too much was written since it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooOld;

/// Bytes that a key, or a version of it, takes besides its own.
const ENTRY: usize = 128;

impl Window {
    pub(super) fn new(limits: WindowLimits) -> Self {
        let inner = Inner {
            keys: BTreeMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            batch: 0,
            snapshots: BTreeMap::new(),
            horizon: 0,
            limits,
        };
        Self { inner: Mutex::new(inner) }
    }

    /// Begins a snapshot of all batches up to now. Returns the number of the last one.
    pub(super) fn begin_snapshot(&self) -> u64 {
        let mut inner = self.inner();
        let batch = inner.batch;
        *inner.snapshots.entry(batch).or_default() += 1;
        batch
    }

    pub(super) fn end_snapshot(&self, batch: u64) {
        let mut inner = self.inner();
        if let Some(count) = inner.snapshots.get_mut(&batch) {
            *count -= 1;
            if *count == 0 {
                inner.snapshots.remove(&batch);
            }
        }
    }

    /// Returns the value of a key in a snapshot, if the window has it.
    pub(super) fn get(&self, key: &[u8], batch: u64) -> Result<Option<Option<Bytes>>, TooOld> {
        let inner = self.inner();
        inner.check(batch)?;
        Ok(inner.keys.get(key).and_then(|versions| version_at(versions, batch)).cloned())
    }

    /// Returns the rows of a span that the window has, as they are in a snapshot.
    pub(super) fn within(
        &self,
        span: &Span,
        direction: Direction,
        batch: u64,
    ) -> Result<Vec<(Bytes, Option<Bytes>)>, TooOld> {
        let inner = self.inner();
        inner.check(batch)?;
        let until = if span.is_empty() { &span.from } else { &span.until };
        let range = inner.keys.range::<Bytes, _>(&span.from..until);
        let at = |(key, versions): (&Bytes, &Versions)| Some((key.clone(), version_at(versions, batch)?.clone()));
        Ok(match direction {
            Direction::Forward => range.filter_map(at).collect(),
            Direction::Backward => range.rev().filter_map(at).collect(),
        })
    }

    /// Adds a value that was read from the database while a snapshot existed, and returns the one that the snapshot sees. If the key
    /// was written meanwhile, the window has it already: then the value that was read may be a later one.
    pub(super) fn add(&self, key: &Bytes, value: Option<Bytes>, batch: u64) -> Result<Option<Bytes>, TooOld> {
        let mut inner = self.inner();
        inner.check(batch)?;
        if let Some(known) = inner.keys.get(key).and_then(|versions| version_at(versions, batch)) {
            return Ok(known.clone());
        }
        inner.add(key, || value.clone());
        inner.evict();
        Ok(value)
    }

    /// Returns which of these keys the window doesn't have.
    pub(super) fn missing<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) -> Vec<Bytes> {
        let inner = self.inner();
        keys.filter(|key| !inner.keys.contains_key(*key)).cloned().collect()
    }

    /// Adds a batch that is about to be written. No snapshot sees it yet. `before` has the values of keys that the window doesn't have.
    ///
    /// # Errors
    /// If values are missing: their keys. Then nothing is changed.
    pub(super) fn begin_batch(&self, batch: u64, writes: &Writes, before: &Before) -> Result<(), Vec<Bytes>> {
        let mut inner = self.inner();
        let is_missing = |key: &&Bytes| !inner.keys.contains_key(*key) && !before.contains_key(*key);
        let missing: Vec<Bytes> = writes.keys().filter(is_missing).cloned().collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let oldest = inner.oldest();
        for (key, value) in writes {
            inner.add(key, || before.get(key).cloned().flatten());
            inner.bytes += bytes_of(value) + bytes_of_place(key);
            inner.order.push_back((batch, key.clone()));
            if let Some(versions) = inner.keys.get_mut(key) {
                versions.push((batch, value.clone()));
            }
            inner.prune(key, oldest);
        }
        Ok(())
    }

    /// The batch was written: snapshots from now on see it.
    pub(super) fn end_batch(&self, batch: u64) {
        let mut inner = self.inner();
        inner.batch = batch;
        inner.evict();
    }

    /// The batch wasn't written.
    pub(super) fn drop_batch(&self, batch: u64, writes: &Writes) {
        let mut inner = self.inner();
        for key in writes.keys() {
            let Some(versions) = inner.keys.get_mut(key) else { continue };
            let Some((_, value)) = versions.pop_if(|(written, _)| *written == batch) else { continue };
            // The place in the order that the key had before may be gone.
            let last = versions.last().map_or(0, |(written, _)| *written);
            inner.bytes += bytes_of_place(key);
            inner.bytes -= bytes_of(&value);
            inner.order.push_back((last, key.clone()));
        }
        inner.evict();
    }

    /// Ends all snapshots: another process may have written since.
    pub(super) fn end_all(&self) {
        self.inner().horizon = u64::MAX;
    }

    /// Returns the bytes that it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.inner().bytes
    }

    /// No change can panic half-way, so a poisoned lock is still valid.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn check(&self, batch: u64) -> Result<(), TooOld> {
        if batch < self.horizon { Err(TooOld) } else { Ok(()) }
    }

    /// Returns the oldest batch that a snapshot sees, or that a new one would see.
    fn oldest(&self) -> u64 {
        self.snapshots.keys().next().map_or(self.batch, |batch| *batch).max(self.horizon)
    }

    fn add(&mut self, key: &Bytes, value: impl FnOnce() -> Option<Bytes>) {
        if self.keys.contains_key(key) {
            return;
        }
        let value = value();
        self.bytes += bytes_of(&value) + 2 * bytes_of_place(key);
        self.order.push_back((0, key.clone()));
        self.keys.insert(key.clone(), vec![(0, value)]);
    }

    /// Removes the versions of a key that no snapshot sees.
    fn prune(&mut self, key: &Bytes, oldest: u64) {
        let Some(versions) = self.keys.get_mut(key) else { return };
        let unseen = versions.partition_point(|(batch, _)| *batch <= oldest).saturating_sub(1);
        self.bytes -= versions.drain(..unseen).map(|(_, value)| bytes_of(&value)).sum::<usize>();
    }

    /// Removes keys from the oldest on, while there are too many bytes. A key stays while a snapshot needs another value than the
    /// database has. If even those are too many, the oldest snapshots end.
    fn evict(&mut self) {
        let mut oldest = self.oldest();
        while self.bytes > self.limits.cache_bytes
            && let Some((written, key)) = self.order.front()
        {
            let written = *written;
            let last = self.keys.get(key).and_then(|versions| versions.last()).map(|(batch, _)| *batch);
            if last == Some(written) && written > oldest {
                // A batch that is being written isn't in the database yet.
                if self.bytes <= self.limits.bytes_max || written > self.batch {
                    return;
                }
                Limit::StoreReplacedValues.hit();
                self.horizon = written;
                oldest = written;
            }
            let Some((_, key)) = self.order.pop_front() else { return };
            self.bytes -= bytes_of_place(&key);
            self.prune(&key, oldest);
            if last == Some(written)
                && let Some(versions) = self.keys.remove(&key)
            {
                self.bytes -= bytes_of_place(&key);
                self.bytes -= versions.iter().map(|(_, value)| bytes_of(value)).sum::<usize>();
            }
        }
    }
}

/// The bytes that a version takes.
fn bytes_of(value: &Option<Bytes>) -> usize {
    ENTRY + value.as_ref().map_or(0, Bytes::len)
}

/// The bytes that a key takes, or a place in the order.
fn bytes_of_place(key: &Bytes) -> usize {
    ENTRY + key.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LIMITS: WindowLimits = WindowLimits { cache_bytes: 0, bytes_max: 1 << 20 };

    fn writes(key: &'static str, value: Option<&'static str>) -> Writes {
        Writes::from([(key.into(), value.map(Bytes::from))])
    }

    fn write(
        window: &Window,
        batch: u64,
        key: &'static str,
        value: Option<&'static str>,
        before: Option<&'static str>,
    ) {
        let before = Before::from([(key.into(), before.map(Bytes::from))]);
        window.begin_batch(batch, &writes(key, value), &before).unwrap();
        window.end_batch(batch);
    }

    fn get(window: &Window, key: &str, batch: u64) -> Option<Option<String>> {
        let value = window.get(key.as_bytes(), batch).unwrap();
        value.map(|value| value.map(|value| String::from_utf8(value.to_vec()).unwrap()))
    }

    #[test]
    fn a_snapshot_sees_the_values_that_were_replaced_since() {
        let window = Window::new(LIMITS);
        let first = window.begin_snapshot();
        write(&window, 1, "a", Some("1"), Some("0"));
        write(&window, 2, "a", None, None);
        let third = window.begin_snapshot();
        assert_eq!((get(&window, "a", first), get(&window, "a", third)), (Some(Some("0".into())), Some(None)));
        // A value that was read from the database before the batches is the right one, and a later one isn't.
        assert_eq!(window.add(&"a".into(), None, first).unwrap(), Some("0".into()));
        window.end_snapshot(first);
        window.end_snapshot(third);
        write(&window, 3, "b", Some("1"), None);
        assert_eq!((get(&window, "a", 3), get(&window, "b", 3), window.bytes()), (None, None, 0));
    }

    #[test]
    fn a_batch_needs_the_values_before_it_and_one_that_failed_leaves_them() {
        let window = Window::new(LIMITS);
        let snapshot = window.begin_snapshot();
        assert_eq!(window.begin_batch(1, &writes("a", Some("1")), &Before::new()), Err(vec!["a".into()]));
        let before = Before::from([("a".into(), Some("0".into()))]);
        window.begin_batch(1, &writes("a", Some("1")), &before).unwrap();
        assert_eq!(get(&window, "a", snapshot), Some(Some("0".into())));
        window.drop_batch(1, &writes("a", Some("1")));
        assert_eq!((get(&window, "a", snapshot), window.bytes()), (None, 0));
    }

    #[test]
    fn a_batch_that_is_being_written_stays_however_little_room_there_is() {
        let window = Window::new(WindowLimits { cache_bytes: 0, bytes_max: 0 });
        window.begin_batch(1, &writes("a", Some("1")), &Before::from([("a".into(), None)])).unwrap();
        let snapshot = window.begin_snapshot();
        assert_eq!(window.add(&"b".into(), None, snapshot).unwrap(), None);
        assert_eq!(get(&window, "a", snapshot), Some(None));
    }

    #[test]
    fn memory_is_bounded_and_old_snapshots_end_first() {
        let limits = WindowLimits { cache_bytes: 4_000, bytes_max: 20_000 };
        let window = Window::new(limits);
        // One key that is written again and again.
        for batch in 1..1_000 {
            write(&window, batch, "hot", Some("x"), None);
            assert!(window.bytes() <= limits.cache_bytes, "{}", window.bytes());
        }
        assert_eq!(get(&window, "hot", 999), Some(Some("x".into())), "it is in the cache");
        let old = window.begin_snapshot();
        for batch in 1_000..2_000 {
            let key = Bytes::from(format!("key-{batch}"));
            let writes = Writes::from([(key.clone(), Some(Bytes::new()))]);
            window.begin_batch(batch, &writes, &Before::from([(key, None)])).unwrap();
            window.end_batch(batch);
            assert!(window.bytes() <= limits.bytes_max, "{}", window.bytes());
        }
        assert_eq!(window.get(b"hot", old), Err(TooOld));
        let new = window.begin_snapshot();
        assert_eq!(get(&window, "key-1999", new), Some(Some(String::new())));
        window.end_all();
        assert_eq!(window.get(b"hot", new), Err(TooOld));
    }
}
