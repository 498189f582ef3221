//! A simulated disk. Unsynced data can be lost, the power can fail at any operation, and the disk can be full, slow or
//! unreadable.

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

/// A handle, cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    synced: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<Change>,
    syncs: usize,
    /// The number of writes and syncs until the power fails.
    fuse: Option<usize>,
    is_off: bool,
    /// Whether syncs wait.
    is_held: bool,
    /// Whether a sync is waiting.
    is_waiting: bool,
    /// Whether writes fail because the disk is full.
    is_full: bool,
    /// Whether reads fail.
    is_unreadable: bool,
    /// Whether reads wait.
    is_slow: bool,
    /// The number of reads that are waiting.
    reading: usize,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Disk {
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

    /// Makes syncs wait until [`Disk::release`].
    pub(super) fn hold(&self) {
        self.lock().is_held = true;
    }

    pub(super) fn release(&self) {
        self.lock().is_held = false;
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
        self.lock().is_full = is_full;
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

    /// Returns the disk as it is after a crash.
    pub(super) fn after_crash(&self, unsynced: Unsynced, random: &mut Random) -> Self {
        let state = self.lock();
        let mut left = state.synced.clone();
        if unsynced == Unsynced::Random {
            let all = state.unsynced.len();
            let (share, is_in_order) = (2 + random.below(4), random.one_in(2));
            let first = if is_in_order && random.one_in(2) { random.below(all + 1) } else { all };
            for change in &state.unsynced[..first] {
                change.survive(&mut left, |_| is_in_order || !random.one_in(share));
            }
        }
        let found = Self::default();
        *found.lock() = State { current: left.clone(), synced: left, ..State::default() };
        found
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
                for (at, sector) in bytes.chunks(SECTOR).enumerate() {
                    let offset = offset + at * SECTOR;
                    if survives(offset) {
                        let end = offset + sector.len();
                        disk.resize(disk.len().max(end), 0);
                        disk[offset..end].copy_from_slice(sector);
                    }
                }
            }
        }
    }
}

impl State {
    /// Does an operation, and counts it. If the power fails at it, the operation has begun, but returns an error.
    fn operate(&mut self, change: Option<Change>) -> io::Result<()> {
        if self.is_off {
            return Err(io::Error::other("the power is off"));
        }
        if self.is_full && change.is_some() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if let Some(change) = change {
            change.survive(&mut self.current, |_| true);
            self.unsynced.push(change);
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
        Ok(self.lock().current.len() as u64)
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
        let found = state.current.get(offset..offset + out.len()).filter(|_| !state.is_off && !state.is_unreadable);
        out.copy_from_slice(found.ok_or_else(|| io::Error::other("there is nothing to read"))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.lock().operate(Some(Change::Length(len as usize)))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.is_held {
            state.is_waiting = true;
            self.state.1.notify_all();
            state = self.state.1.wait_while(state, |state| state.is_held).unwrap();
            state.is_waiting = false;
        }
        state.operate(None)?;
        state.synced = state.current.clone();
        state.unsynced.clear();
        state.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.lock().operate(Some(Change::Write(offset as usize, data.to_vec())))
    }
}
