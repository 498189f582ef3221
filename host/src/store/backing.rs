//! What a database stands in: a file, or in tests a simulated disk. It knows which reads must not wait, and when it is retired.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::reading;

/// A handle, cheap to clone: the database has one, and the engine another to retire it by.
#[derive(Clone, Debug)]
pub(super) struct Backing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Box<dyn StorageBackend>,
    /// The same file, to be asked for what is in memory. None where there is no file.
    file: Option<File>,
    is_retired: AtomicBool,
}

impl Backing {
    /// A file.
    pub(super) fn file(file: File) -> io::Result<Self> {
        let same = file.try_clone()?;
        let backend = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self::new(Box::new(backend), Some(same)))
    }

    /// Something else.
    pub(super) fn other(backend: impl StorageBackend) -> Self {
        Self::new(Box::new(backend), None)
    }

    fn new(backend: Box<dyn StorageBackend>, file: Option<File>) -> Self {
        Self(Arc::new(Inner { backend, file, is_retired: AtomicBool::new(false) }))
    }

    /// Takes it away from its database, which goes on with what it has in memory: its locks are free for the one that is opened
    /// in its place. Once is enough.
    pub(super) fn retire(&self) -> io::Result<()> {
        // First, so that the database can't write once another one may.
        if self.0.is_retired.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.0.backend.close()
    }

    fn backend(&self) -> io::Result<&dyn StorageBackend> {
        if self.0.is_retired.load(Ordering::SeqCst) {
            return Err(io::Error::other("the store was opened anew meanwhile"));
        }
        Ok(&*self.0.backend)
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
            return backend.read(offset, out);
        }
        match &self.0.file {
            Some(file) if is_in_memory(file, offset, out) => Ok(()),
            _ => reading::give_up(),
        }
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
        // Of a retired one all locks are free already.
        self.locking().map_or(Ok(()), |backend| backend.unlock_range(start, end))
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.locking()?.query_lock_range(start, end)
    }
}

/// Reads what the operating system has in memory. False where that isn't all, or it can't say.
#[cfg(target_os = "linux")]
fn is_in_memory(file: &File, offset: u64, out: &mut [u8]) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let wanted = out.len();
    preadv2(file, &mut [io::IoSliceMut::new(out)], offset, ReadWriteFlags::NOWAIT) == Ok(wanted)
}

/// Other systems don't say.
#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &File, _: u64, _: &mut [u8]) -> bool {
    false
}

/// Forgets what the operating system has in memory of a file, so that what is read next is what the disk holds. For after a failed
/// sync the system may take pages for written that never were.
#[cfg(target_os = "linux")]
pub(super) fn forget_cached(file: &File) -> io::Result<()> {
    // What is still to be written isn't forgotten.
    file.sync_all()?;
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Other systems have no such call.
#[cfg(not(target_os = "linux"))]
pub(super) fn forget_cached(file: &File) -> io::Result<()> {
    file.sync_all()
}
