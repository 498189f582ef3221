//! An engine in memory, which stores nothing on disk: for test kits, and for hosts without a data directory.
//!
//! Each key has several versions, for as long as a snapshot can read them. So taking a snapshot copies nothing, and the cost
//! of a batch depends only on its writes.

use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::engine::{Direction, Engine, EngineFuture, Rows, ScanLimit, Snapshot, Span, Writes};
use super::versions::{Versions, version_at};

/// An engine that keeps ordered keys in memory.
#[derive(Default)]
pub struct Memory {
    keys: Arc<SharedKeys>,
}

/// The keys behind a lock, because snapshots read them on other threads while the committer writes.
#[derive(Default)]
struct SharedKeys(RwLock<Keys>);

#[derive(Default)]
struct Keys {
    /// The versions of each key, as far as snapshots need them.
    versions: BTreeMap<Bytes, Versions>,
    /// The number of the last batch.
    batch: u64,
    /// The number of snapshots of each batch that has any.
    snapshots: BTreeMap<u64, usize>,
    /// Keys with old versions. They can be pruned once no snapshot is older than the batch given with the key.
    stale: VecDeque<(u64, Bytes)>,
}

struct View {
    keys: Arc<SharedKeys>,
    batch: u64,
}

impl Engine for Memory {
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>> {
        let mut keys = self.keys.write();
        let batch = keys.batch;
        *keys.snapshots.entry(batch).or_default() += 1;
        drop(keys);
        let view: Arc<dyn Snapshot> = Arc::new(View { keys: Arc::clone(&self.keys), batch });
        Box::pin(ready(Ok(view)))
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()> {
        self.keys.write().apply(writes);
        Box::pin(ready(Ok(())))
    }
}

impl Keys {
    fn apply(&mut self, writes: &Writes) {
        self.batch += 1;
        for (key, value) in writes {
            let is_known = self.versions.contains_key(key);
            if is_known {
                self.stale.push_back((self.batch, key.clone()));
            }
            if is_known || value.is_some() {
                self.versions.entry(key.clone()).or_default().push((self.batch, value.clone()));
            }
        }
        let oldest = self.snapshots.keys().next().map_or(self.batch, |batch| *batch);
        while let Some((_, key)) = self.stale.pop_front_if(|(batch, _)| *batch <= oldest) {
            self.prune(&key, oldest);
        }
    }

    /// Drops the versions of a key that no snapshot can see, if the oldest snapshot is of batch `oldest`.
    fn prune(&mut self, key: &Bytes, oldest: u64) {
        let Some(versions) = self.versions.get_mut(key) else { return };
        let unseen = versions.partition_point(|(batch, _)| *batch <= oldest).saturating_sub(1);
        versions.drain(..unseen);
        if matches!(versions[..], [(_, None)]) {
            self.versions.remove(key);
        }
    }
}

/// Returns a key's value at a batch.
fn value_at(versions: &Versions, batch: u64) -> Option<Bytes> {
    version_at(versions, batch).cloned().flatten()
}

impl Snapshot for View {
    fn get<'a>(&'a self, key: &'a [u8]) -> EngineFuture<'a, Option<Bytes>> {
        let value = self.keys.read().versions.get(key).and_then(|versions| value_at(versions, self.batch));
        Box::pin(ready(Ok(value)))
    }

    fn scan<'a>(&'a self, span: &'a Span, direction: Direction, limit: ScanLimit) -> EngineFuture<'a, Rows> {
        if span.is_empty() {
            return Box::pin(ready(Ok(Rows { rows: Vec::new(), ended: true })));
        }
        let keys = self.keys.read();
        let range = keys.versions.range(span.from.clone()..span.until.clone());
        let rows = range.filter_map(|(key, versions)| Some(Ok((key.clone(), value_at(versions, self.batch)?))));
        let rows = match direction {
            Direction::Forward => Rows::gather(rows, limit),
            Direction::Backward => Rows::gather(rows.rev(), limit),
        };
        drop(keys);
        Box::pin(ready(rows))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let mut keys = self.keys.write();
        if let Some(count) = keys.snapshots.get_mut(&self.batch) {
            *count -= 1;
            if *count == 0 {
                keys.snapshots.remove(&self.batch);
            }
        }
    }
}

impl SharedKeys {
    /// No change can panic half-way, so a poisoned lock is still valid.
    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn write(memory: &mut Memory, key: &'static str, value: Option<&'static str>) {
        let writes = Writes::from([(key.into(), value.map(Bytes::from))]);
        memory.apply(&writes).now_or_never().unwrap().unwrap();
    }

    #[test]
    fn versions_are_pruned_with_the_last_snapshot_that_sees_them() {
        let mut memory = Memory::default();
        let versions = |memory: &Memory, key: &str| memory.keys.read().versions.get(key.as_bytes()).map_or(0, Vec::len);
        write(&mut memory, "a", Some("1"));
        let first = memory.snapshot().now_or_never().unwrap().unwrap();
        write(&mut memory, "a", Some("2"));
        write(&mut memory, "a", None);
        assert_eq!(versions(&memory, "a"), 3);
        assert_eq!(first.get(b"a").now_or_never().unwrap().unwrap(), Some("1".into()));
        drop(first);
        write(&mut memory, "b", None);
        assert_eq!((versions(&memory, "a"), versions(&memory, "b")), (0, 0));
        assert!(memory.keys.read().stale.is_empty() && memory.keys.read().snapshots.is_empty());
    }
}
