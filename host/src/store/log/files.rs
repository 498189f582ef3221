//! The two log files. One of them takes new records. The other one has the records that a checkpoint is writing to the tree.

use std::io;

use bytes::Bytes;
use redb::StorageBackend;

use super::record::{self, HEADER, Mark};

/// The names of the files in a data directory. They exist while a host runs, and after a crash.
pub(in crate::store) const LOG_FILES: [&str; 2] = ["bennu.redb-log1", "bennu.redb-log2"];

/// Opens a log file, 0 or 1. It is called each time that the store is opened.
pub(in crate::store) type LogOpener = Box<dyn Fn(usize, Opening) -> io::Result<Box<dyn StorageBackend>> + Send>;

/// Why a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Opening {
    First,
    /// After a failure. Nothing that the operating system has in memory of the file is to be believed.
    Again,
}

/// Both log files.
pub(in crate::store) struct LogFiles {
    files: [LogFile; 2],
    current: usize,
    /// A file grows by this many bytes at once, filled with zeros. So most syncs write only data: the file system doesn't have
    /// to write where the data is, because that doesn't change.
    growth: u64,
}

struct LogFile {
    backend: Box<dyn StorageBackend>,
    /// The length of the file.
    length: u64,
    /// Where the next record begins. 0 if the next record is the first one.
    end: u64,
}

impl LogFiles {
    /// Opens the files. Their content can be read until the first record is appended.
    ///
    /// # Errors
    /// Those of the files.
    pub(in crate::store) fn open(opener: &LogOpener, opening: Opening, growth: u64) -> io::Result<Self> {
        let file = |which| -> io::Result<LogFile> {
            let backend = opener(which, opening)?;
            Ok(LogFile { length: backend.len()?, backend, end: 0 })
        };
        Ok(Self { files: [file(0)?, file(1)?], current: 0, growth: growth.max(1) })
    }

    /// Closes both files. They can't be used any more.
    ///
    /// # Errors
    /// Those of the files.
    pub(in crate::store) fn close(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|file| file.backend.close())
    }

    /// Returns the content of both files.
    ///
    /// # Errors
    /// Those of the files.
    pub(in crate::store) fn read(&self) -> io::Result<[Bytes; 2]> {
        let [first, second] = &self.files;
        Ok([first.read()?, second.read()?])
    }

    /// Overwrites the headers with zeros. The records stay: those of which the tree has the batches already are ignored, and all are once
    /// the salt changes. After a failure, this also shows whether the files can be written.
    ///
    /// # Errors
    /// Those of the files.
    pub(in crate::store) fn clear(&mut self, opening: Opening) -> io::Result<()> {
        let has_content = |file: &&mut LogFile| opening == Opening::Again || file.length > 0;
        self.files.iter_mut().filter(has_content).try_for_each(LogFile::clear)
    }

    /// Appends a record to the current file, and syncs it.
    ///
    /// # Errors
    /// Those of the file. Then nobody knows whether the record is stored, and the files have to be opened again.
    pub(in crate::store) fn append(&mut self, mark: Mark, record: &[u8]) -> io::Result<()> {
        self.files[self.current].append(mark, record, self.growth)
    }

    /// Reuses the current file from its beginning. The tree has all batches of its records.
    pub(in crate::store) fn restart(&mut self) {
        self.files[self.current].end = 0;
    }

    /// Uses the other file from its beginning. The tree has all batches of its records.
    pub(in crate::store) fn switch(&mut self) {
        self.current = 1 - self.current;
        self.restart();
    }
}

impl LogFile {
    fn read(&self) -> io::Result<Bytes> {
        let mut content = vec![0; usize::try_from(self.length).map_err(io::Error::other)?];
        if !content.is_empty() {
            self.backend.read(0, &mut content)?;
        }
        Ok(content.into())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.grow(HEADER as u64)?;
        self.backend.write(0, &[0; HEADER])?;
        self.backend.sync_data()?;
        self.end = 0;
        Ok(())
    }

    fn append(&mut self, mark: Mark, record: &[u8], growth: u64) -> io::Result<()> {
        // The header and the first record are one write. If it is torn, none of the file was acknowledged.
        let with_header = (self.end == 0).then(|| [&record::header(mark)[..], record].concat());
        let bytes = with_header.as_deref().unwrap_or(record);
        let end = self.end + bytes.len() as u64;
        if end > self.length {
            self.grow(end.next_multiple_of(growth))?;
        }
        self.backend.write(self.end, bytes)?;
        self.backend.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Makes the file at least this long. The new part is filled with zeros that are written: a part without them has no place on
    /// the disk yet.
    fn grow(&mut self, length: u64) -> io::Result<()> {
        if length > self.length {
            let zeros = vec![0; usize::try_from(length - self.length).map_err(io::Error::other)?];
            self.backend.set_len(length)?;
            self.backend.write(self.length, &zeros)?;
            self.length = length;
        }
        Ok(())
    }
}
