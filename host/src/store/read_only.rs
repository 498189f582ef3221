//! The file of a database that stays as it is: what the database writes is kept in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// The bytes of a block, as a length in memory and as one in a file.
const BLOCK: usize = 4096;
const BLOCK_U64: u64 = BLOCK as u64;

/// A file that redb can open, check and close, although it isn't written. To open a database, redb writes its header, and to
/// close it, the list of its free pages: about 64 KiB for each GB.
#[derive(Debug)]
pub(super) struct ReadOnlyFile {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The length, as the database has set it.
    length: u64,
    /// The bytes at the beginning that are those of the file, unless they are in a block.
    unchanged: u64,
    /// The blocks that were written, by their numbers.
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
}

impl ReadOnlyFile {
    /// Wraps a file. It needs only be readable.
    ///
    /// # Errors
    /// If its length can't be read.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, state: Mutex::new(State { length, unchanged: length, blocks: BTreeMap::new() }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads bytes of the file, and zeros behind what is unchanged of it.
    fn read_file(&self, unchanged: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inside = usize::try_from(unchanged.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (inside, behind) = out.split_at_mut(inside);
        behind.fill(0);
        self.file.read_exact_at(inside, offset)
    }
}

/// Splits a place into the number of its block, the place in the block, and how many of so many bytes are in the block.
fn part(offset: u64, length: usize) -> (u64, usize, usize) {
    let within = usize::try_from(offset % BLOCK_U64).unwrap_or_default();
    (offset / BLOCK_U64, within, length.min(BLOCK - within))
}

impl StorageBackend for ReadOnlyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > state.length) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "these bytes are behind the end of the file"));
        }
        let (mut offset, mut rest) = (offset, out);
        while !rest.is_empty() {
            let (number, within, length) = part(offset, rest.len());
            let (now, later) = rest.split_at_mut(length);
            match state.blocks.get(&number).and_then(|block| block.get(within..within + length)) {
                Some(bytes) => now.copy_from_slice(bytes),
                None => self.read_file(state.unchanged, offset, now)?,
            }
            (offset, rest) = (offset + length as u64, later);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.lock();
        (state.length, state.unchanged) = (length, state.unchanged.min(length));
        // What is cut off is zero if the file grows again.
        drop(state.blocks.split_off(&length.div_ceil(BLOCK_U64)));
        let (number, within, _) = part(length, 0);
        if let Some(bytes) = state.blocks.get_mut(&number).and_then(|block| block.get_mut(within..)) {
            bytes.fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.length = state.length.max(offset.saturating_add(data.len() as u64));
        let (mut offset, mut rest) = (offset, data);
        while !rest.is_empty() {
            let (number, within, length) = part(offset, rest.len());
            let (now, later) = rest.split_at(length);
            if !state.blocks.contains_key(&number) {
                let mut block = Box::new([0; BLOCK]);
                self.read_file(state.unchanged, number * BLOCK_U64, &mut block[..])?;
                state.blocks.insert(number, block);
            }
            if let Some(bytes) = state.blocks.get_mut(&number).and_then(|block| block.get_mut(within..within + length))
            {
                bytes.copy_from_slice(now);
            }
            (offset, rest) = (offset + length as u64, later);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A file with these bytes, and a handle that can only read it.
    fn file(bytes: &[u8]) -> (tempfile::NamedTempFile, ReadOnlyFile) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let readable = File::open(file.path()).unwrap();
        (file, ReadOnlyFile::new(readable).unwrap())
    }

    fn content(backend: &ReadOnlyFile) -> Vec<u8> {
        let mut bytes = vec![1; usize::try_from(backend.len().unwrap()).unwrap()];
        backend.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_is_read_again_and_the_file_stays_as_it_is() {
        let mut expected: Vec<u8> = (0..3 * BLOCK + 100).map(|at| (at % 251) as u8).collect();
        let before = expected.clone();
        let (file, backend) = file(&expected);
        assert_eq!(content(&backend), expected);
        for (offset, length) in [(10, 20), (BLOCK - 5, 10), (BLOCK, 2 * BLOCK), (3 * BLOCK + 99, 1), (7, 0)] {
            let written = vec![0xee; length];
            backend.write(offset as u64, &written).unwrap();
            expected[offset..offset + length].copy_from_slice(&written);
            assert_eq!(content(&backend), expected, "{length} bytes at {offset}");
        }
        backend.sync_data().unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), before);
    }

    #[test]
    fn what_was_cut_off_is_zero_when_the_file_grows_again() {
        let (file, backend) = file(&[7; 2 * BLOCK]);
        backend.write(5, &[9; 10]).unwrap();
        for length in [8, 3 * BLOCK, BLOCK + 1, 4 * BLOCK] {
            backend.set_len(length as u64).unwrap();
        }
        let mut expected: Vec<u8> = [&[7; 5][..], &[9; 3]].concat();
        expected.resize(4 * BLOCK, 0);
        assert_eq!(content(&backend), expected);
        backend.write(3 * BLOCK_U64, &[1]).unwrap();
        expected[3 * BLOCK] = 1;
        assert_eq!(content(&backend), expected);
        assert!(backend.read(4 * BLOCK_U64 - 1, &mut [0; 2]).is_err());
        assert_eq!(std::fs::read(file.path()).unwrap(), [7; 2 * BLOCK]);
    }
}
