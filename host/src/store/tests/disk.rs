//! A disk that forgets what wasn't synced, whose power can go at any operation, which can be full, and which can be slow.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use redb::StorageBackend;

use super::Random;

/// What a crash leaves of the writes after the last sync: none of it, or any part: all, the first so many writes, or any
/// sectors of them.
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
    /// Writes and syncs until the power goes.
    fuse: Option<usize>,
    is_off: bool,
    /// Whether syncs wait.
    is_held: bool,
    /// Whether one does.
    is_waiting: bool,
    /// Whether nothing can be written.
    is_full: bool,
    /// Whether reads fail.
    is_unreadable: bool,
    /// Whether reads wait.
    is_slow: bool,
    /// How many reads do.
    reading: usize,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Disk {
    /// How often it was synced.
    pub(super) fn syncs(&self) -> usize {
        self.lock().syncs
    }

    /// Has the power go at the operation after so many more.
    pub(super) fn light(&self, fuse: usize) {
        self.lock().fuse = Some(fuse);
    }

    pub(super) fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// Takes the power away now.
    pub(super) fn cut(&self) {
        self.lock().is_off = true;
    }

    /// Lets syncs wait, until [`Disk::release`].
    pub(super) fn hold(&self) {
        self.lock().is_held = true;
    }

    pub(super) fn release(&self) {
        self.lock().is_held = false;
        self.state.1.notify_all();
    }

    /// Waits until a sync does.
    pub(super) fn wait_for_sync(&self) {
        let deadline = Duration::from_secs(30);
        let (_state, waited) =
            self.state.1.wait_timeout_while(self.lock(), deadline, |state| !state.is_waiting).unwrap();
        assert!(!waited.timed_out(), "nothing is synced");
    }

    /// Has writes fail for want of room, or have room again.
    pub(super) fn fill(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// Has reads wait, or go on.
    pub(super) fn slow_down(&self, is_slow: bool) {
        self.lock().is_slow = is_slow;
        self.state.1.notify_all();
    }

    /// Has reads fail, or work again.
    pub(super) fn fail_reads(&self, fail: bool) {
        self.lock().is_unreadable = fail;
    }

    /// How many reads wait.
    pub(super) fn reading(&self) -> usize {
        self.lock().reading
    }

    /// The disk as it is found after the crash.
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
    /// What of it reaches the disk, by sectors.
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
    /// Counts an operation. The one at which the power goes has begun, and not been answered.
    fn operate(&mut self, change: Option<Change>) -> io::Result<()> {
        if self.is_off {
            return Err(io::Error::other("there is no power"));
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
                return Err(io::Error::other("the power has gone"));
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
