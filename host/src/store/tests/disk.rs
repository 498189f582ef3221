//! A simulated disk with the files of a store. Unsynced data can be lost, the power can fail at any operation, and the disk
//! can be full, slow or unreadable.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use redb::StorageBackend;

use super::Random;

/// The writes after the last sync that survive a crash: none, or a random part of them. A random part is all of them, the
/// first ones, or some sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsynced {
    Forgotten,
    Random,
}

const SECTOR: usize = 512;

/// The number of files: a tree, and the two files of its log.
const FILES: usize = 3;

/// A handle of a file on the disk, cheap to clone. The first handle is of the tree's file.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    state: Arc<(Mutex<State>, Condvar)>,
    file: usize,
}

#[derive(Debug, Default)]
struct State {
    files: [FileState; FILES],
    syncs: usize,
    /// The number of writes and syncs until the power fails.
    fuse: Option<usize>,
    /// The number of writes and syncs.
    operations: usize,
    /// The number of writes and syncs until one of them fails. 0 if it has failed.
    failing: Option<usize>,
    is_off: bool,
    /// The file whose next sync panics.
    panicking: Option<usize>,
    /// Whether syncs of a file wait.
    is_held: [bool; FILES],
    /// Whether a sync is waiting.
    is_waiting: bool,
    /// Whether writes of a file fail because the disk is full.
    is_full: [bool; FILES],
    /// Whether reads fail.
    is_unreadable: bool,
    /// Whether reads wait.
    is_slow: bool,
    /// The number of reads that are waiting.
    reading: usize,
}

#[derive(Debug, Default)]
struct FileState {
    synced: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Disk {
    /// Returns a handle of a file of the log: 0 or 1.
    pub(super) fn log(&self, which: usize) -> Self {
        Self { file: 1 + which, ..self.clone() }
    }

    /// Returns the content of the handle's file.
    pub(super) fn content(&self) -> Vec<u8> {
        self.lock().files[self.file].current.clone()
    }

    /// Changes the content of the handle's file.
    pub(super) fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let file = &mut state.files[self.file];
        change(&mut file.current);
        file.synced = file.current.clone();
    }

    /// Returns the number of writes and syncs.
    pub(super) fn operations(&self) -> usize {
        self.lock().operations
    }

    /// Returns how often it was synced.
    pub(super) fn syncs(&self) -> usize {
        self.lock().syncs
    }

    /// Makes the power fail at the write or sync with this number, counted from now.
    pub(super) fn light(&self, fuse: usize) {
        self.lock().fuse = Some(fuse);
    }

    pub(super) fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// Makes the power fail now.
    pub(super) fn cut(&self) {
        self.lock().is_off = true;
    }

    /// Makes all syncs wait until [`Disk::release`].
    pub(super) fn hold(&self) {
        self.lock().is_held = [true; FILES];
    }

    /// Makes syncs of the handle's file wait until [`Disk::release`].
    pub(super) fn hold_file(&self) {
        self.lock().is_held[self.file] = true;
    }

    pub(super) fn release(&self) {
        self.lock().is_held = [false; FILES];
        self.state.1.notify_all();
    }

    /// Waits until a sync is waiting.
    pub(super) fn wait_for_sync(&self) {
        let deadline = Duration::from_secs(30);
        let (_state, waited) =
            self.state.1.wait_timeout_while(self.lock(), deadline, |state| !state.is_waiting).unwrap();
        assert!(!waited.timed_out(), "no sync was made");
    }

    /// Makes writes fail because the disk is full, or work again.
    pub(super) fn fill(&self, is_full: bool) {
        self.lock().is_full = [is_full; FILES];
    }

    /// Makes writes of the handle's file fail because the disk is full, or work again.
    pub(super) fn fill_file(&self, is_full: bool) {
        self.lock().is_full[self.file] = is_full;
    }

    /// Makes reads wait, or continue.
    pub(super) fn slow_down(&self, is_slow: bool) {
        self.lock().is_slow = is_slow;
        self.state.1.notify_all();
    }

    /// Makes reads fail, or work again.
    pub(super) fn fail_reads(&self, fail: bool) {
        self.lock().is_unreadable = fail;
    }

    /// Returns the number of reads that are waiting.
    pub(super) fn reading(&self) -> usize {
        self.lock().reading
    }

    /// Makes one operation fail: the write or sync with this number, counted from now.
    pub(super) fn fail(&self, number: usize) {
        self.lock().failing = Some(number);
    }

    /// Whether the operation has failed that [`Disk::fail`] has chosen.
    pub(super) fn has_failed(&self) -> bool {
        self.lock().failing == Some(0)
    }

    /// Makes the next sync of the handle's file panic.
    pub(super) fn panic_at_sync(&self) {
        self.lock().panicking = Some(self.file);
    }

    /// Drops the writes after the last sync, or keeps a random part of them, as if they were read from the disk again.
    pub(super) fn forget(&self, unsynced: Unsynced, random: &mut Random) {
        let found = self.after_crash(unsynced, random);
        self.lock().files = std::mem::take(&mut found.lock().files);
    }

    /// Returns the disk as it is after a crash.
    pub(super) fn after_crash(&self, unsynced: Unsynced, random: &mut Random) -> Self {
        let mut state = State::default();
        for (file, before) in state.files.iter_mut().zip(&self.lock().files) {
            let mut left = before.synced.clone();
            if unsynced == Unsynced::Random {
                let all = before.unsynced.len();
                let (share, is_in_order) = (2 + random.below(4), random.one_in(2));
                let first = if is_in_order && random.one_in(2) { random.below(all + 1) } else { all };
                for change in &before.unsynced[..first] {
                    change.survive(&mut left, |_| is_in_order || !random.one_in(share));
                }
            }
            *file = FileState { current: left.clone(), synced: left, unsynced: Vec::new() };
        }
        Self { state: Arc::new((Mutex::new(state), Condvar::new())), file: self.file }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }
}

impl Change {
    /// Applies the part of this change that reaches the disk. `survives` decides for each sector by its offset.
    fn survive(&self, disk: &mut Vec<u8>, mut survives: impl FnMut(usize) -> bool) {
        match self {
            Self::Length(length) if survives(0) => disk.resize(*length, 0),
            Self::Length(_) => {}
            Self::Write(offset, bytes) => {
                let (mut offset, mut rest) = (*offset, &bytes[..]);
                while !rest.is_empty() {
                    // Sectors are parts of the disk, wherever a write begins.
                    let (sector, further) = rest.split_at(rest.len().min(SECTOR - offset % SECTOR));
                    let end = offset + sector.len();
                    if survives(offset) {
                        disk.resize(disk.len().max(end), 0);
                        disk[offset..end].copy_from_slice(sector);
                    }
                    (offset, rest) = (end, further);
                }
            }
        }
    }
}

impl State {
    /// Does an operation, and counts it. If the power fails at it, the operation has begun, but returns an error.
    fn operate(&mut self, file: usize, change: Option<Change>) -> io::Result<()> {
        if self.is_off {
            return Err(io::Error::other("the power is off"));
        }
        if self.is_full[file] && change.is_some() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.operations += 1;
        let FileState { current, unsynced, .. } = &mut self.files[file];
        if let Some(change) = change {
            change.survive(current, |_| true);
            unsynced.push(change);
        }
        if let Some(failing @ 1..) = &mut self.failing {
            *failing -= 1;
            if *failing == 0 {
                return Err(io::Error::other("the disk has failed"));
            }
        }
        if let Some(fuse) = &mut self.fuse {
            *fuse = fuse.saturating_sub(1);
            if *fuse == 0 {
                self.is_off = true;
                return Err(io::Error::other("the power fails"));
            }
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().files[self.file].current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.lock();
        if state.is_slow {
            state.reading += 1;
            self.state.1.notify_all();
            state = self.state.1.wait_while(state, |state| state.is_slow).unwrap();
            state.reading -= 1;
        }
        let offset = offset as usize;
        let content = &state.files[self.file].current;
        let found = content.get(offset..offset + out.len()).filter(|_| !state.is_off && !state.is_unreadable);
        out.copy_from_slice(found.ok_or_else(|| io::Error::other("there is nothing to read"))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.lock().operate(self.file, Some(Change::Length(len as usize)))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.panicking.take_if(|file| *file == self.file).is_some() {
            // The lock isn't poisoned.
            drop(state);
            panic!("a panic that the test wants");
        }
        if state.is_held[self.file] {
            state.is_waiting = true;
            self.state.1.notify_all();
            state = self.state.1.wait_while(state, |state| state.is_held[self.file]).unwrap();
            state.is_waiting = false;
        }
        state.operate(self.file, None)?;
        let FileState { synced, current, unsynced } = &mut state.files[self.file];
        // Only the changes since the last sync, because a file can be large.
        unsynced.drain(..).for_each(|change| change.survive(synced, |_| true));
        debug_assert_eq!(synced.len(), current.len());
        state.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.lock().operate(self.file, Some(Change::Write(offset as usize, data.to_vec())))
    }
}
