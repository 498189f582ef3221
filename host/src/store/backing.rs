//! The storage below a database: a file, or a simulated disk in tests. It gives up reads that would block a thread that must
//! not block, and it can be retired while its database is still in use.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::reading;

/// A handle, cheap to clone. The database has one, and the engine has another to retire the backing.
#[derive(Clone, Debug)]
pub(super) struct Backing {
    inner: Arc<Inner>,
    /// The number of pages that were read.
    reads: Arc<PageReads>,
}

/// Counts the pages that databases have read from their storage, also those that the operating system had in memory. Each
/// of them was a system call.
#[derive(Debug, Default)]
pub struct PageReads(AtomicU64);

impl PageReads {
    /// Returns their number.
    #[must_use]
    pub fn count(&self) -> u64 {
        // Relaxed: it is a number of its own, and no other memory is read by its value.
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Inner {
    backend: Box<dyn StorageBackend>,
    /// The same file, for reads that succeed only from memory. None if the backing isn't a file.
    file: Option<File>,
    /// Set once, by `retire`. Each operation checks it first, and a read also checks it afterwards.
    is_retired: AtomicBool,
}

impl Backing {
    /// Creates a backing from a file.
    ///
    /// # Errors
    /// If the handle of the file can't be duplicated, or redb doesn't accept the file.
    pub(super) fn file(file: File) -> io::Result<Self> {
        let same = file.try_clone()?;
        let backend = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self::new(Box::new(backend), Some(same)))
    }

    /// Creates a backing from another storage backend.
    pub(super) fn other(backend: impl StorageBackend) -> Self {
        Self::new(Box::new(backend), None)
    }

    fn new(backend: Box<dyn StorageBackend>, file: Option<File>) -> Self {
        let inner = Inner { backend, file, is_retired: AtomicBool::new(false) };
        Self { inner: Arc::new(inner), reads: Arc::default() }
    }

    /// Counts its reads there.
    pub(super) fn counted(self, reads: &Arc<PageReads>) -> Self {
        Self { reads: Arc::clone(reads), ..self }
    }

    /// Detaches the storage from its database, which continues with the pages that it has in memory. This frees the file's
    /// locks for the database that is opened in its place. Further calls do nothing.
    pub(super) fn retire(&self) -> io::Result<()> {
        // The flag is set before the locks are freed, so that this database can't write once another one can. No write can
        // be in progress here, because only the engine's owner writes, and it has given this database up.
        if self.inner.is_retired.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.inner.backend.close()
    }

    fn backend(&self) -> io::Result<&dyn StorageBackend> {
        if self.inner.is_retired.load(Ordering::SeqCst) {
            return Err(io::Error::other("the store was reopened meanwhile"));
        }
        Ok(&*self.inner.backend)
    }

    fn locking(&self) -> Result<&dyn StorageBackend, BackendError> {
        Ok(self.backend()?)
    }
}

impl StorageBackend for Backing {
    fn len(&self) -> io::Result<u64> {
        self.backend()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let backend = self.backend()?;
        if reading::may_wait() {
            backend.read(offset, out)?;
        } else {
            match &self.inner.file {
                Some(file) if is_in_memory(file, offset, out) => {}
                _ => reading::give_up(),
            }
        }
        self.reads.0.fetch_add(1, Ordering::Relaxed);
        // Checked again, because readers don't wait for `retire`. Once the backing is retired, another database writes the
        // file. It doesn't know this database's snapshots, and may have overwritten the page before it was read.
        self.backend().map(drop)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend()?.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend()?.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.retire()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locking()?.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locking()?.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locking()?.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.locking()?.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        // If the backing is retired, all of its locks are already free.
        self.locking().map_or(Ok(()), |backend| backend.unlock_range(start, end))
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locking()?.query_lock_range(start, end)
    }
}

/// Reads bytes if the operating system has all of them in memory. Returns false if it doesn't, or can't tell.
#[cfg(target_os = "linux")]
fn is_in_memory(file: &File, offset: u64, out: &mut [u8]) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let wanted = out.len();
    preadv2(file, &mut [io::IoSliceMut::new(out)], offset, ReadWriteFlags::NOWAIT) == Ok(wanted)
}

/// Other systems have no such call, so every such read is repeated on a thread that may block.
#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &File, _: u64, _: &mut [u8]) -> bool {
    false
}

/// Drops a file's pages from the operating system's cache, so that the next reads come from the disk. After a failed sync,
/// the system may treat pages as written that never reached the disk.
#[cfg(target_os = "linux")]
pub(super) fn forget_cached(file: &File) -> io::Result<()> {
    // `DontNeed` keeps pages that aren't written yet, so they are written first.
    file.sync_all()?;
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Other systems have no such call, so this only syncs the file.
#[cfg(not(target_os = "linux"))]
pub(super) fn forget_cached(file: &File) -> io::Result<()> {
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::OnceLock;

    use super::*;

    /// Storage whose backing is retired while a read is in progress.
    #[derive(Debug)]
    struct RetiredMeanwhile(Arc<OnceLock<Backing>>);

    impl StorageBackend for RetiredMeanwhile {
        fn len(&self) -> io::Result<u64> {
            Ok(1)
        }

        fn read(&self, _: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.get().unwrap().retire()?;
            // A byte of the database that was opened in place of this one.
            out.fill(1);
            Ok(())
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }

        fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_read_fails_if_the_backing_is_retired_meanwhile() {
        let same = Arc::new(OnceLock::new());
        let backing = Backing::other(RetiredMeanwhile(Arc::clone(&same)));
        same.set(backing.clone()).unwrap();
        let error = backing.read(0, &mut [0]).unwrap_err();
        assert!(error.to_string().contains("reopened meanwhile"), "{error}");
    }
}
