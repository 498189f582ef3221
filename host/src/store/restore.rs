//! Restores a store from a backup, into an empty data directory.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bennu_semantics::limits::StoreLimits;

use super::directory::EmptyDirectory;
use super::export_reader::{Checked, ExportReader};
use super::handle::Store;
use super::import::{Existing, Imported};

/// A step of a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreStep {
    /// The backup is checked. Counted in bytes.
    Check,
    /// Its rows are written. Counted in bytes.
    Write,
    /// The rows of the new store are compared with the backup. Counted in rows.
    Compare,
}

impl Store {
    /// Checks a backup, and makes a store with its rows in an empty directory. The store gets its name when it is complete and was
    /// compared with the backup. So after an interruption there is no store in the directory, and the restore can be repeated.
    ///
    /// `progress` gets how much of a step is done, and how much there is.
    ///
    /// # Errors
    /// If the backup is damaged or incomplete, if the directory isn't empty, or if the store can't be written.
    pub async fn restore(
        backup: &File,
        directory: &Path,
        limits: StoreLimits,
        progress: impl Fn(RestoreStep, u64, u64),
    ) -> Result<Imported> {
        let bytes = backup.metadata()?.len();
        let reading = |step| -> Result<_> {
            let mut file = backup.try_clone()?;
            file.rewind().context("a backup must be a file that can be read twice")?;
            let progress = &progress;
            let counted = Counted { file, bytes: 0, note: move |done| progress(step, done, bytes) };
            Ok(BufReader::with_capacity(1 << 16, counted))
        };
        let limits = widened(limits);
        let empty = EmptyDirectory::claim(directory)?;
        let checked =
            ExportReader::of_any_host(reading(RestoreStep::Check)?).check().context("the backup is invalid")?;
        let store = Store::open(empty.workplace(), limits).await?;
        let done = async {
            let imported = store.import(&mut reading(RestoreStep::Write)?, Existing::Refuse).await?;
            store.compare(&checked, |rows| progress(RestoreStep::Compare, rows, checked.rows)).await?;
            anyhow::Ok(imported)
        };
        let done = done.await;
        store.close().await;
        let imported = done?;
        empty.fill()?;
        Ok(imported)
    }

    /// Compares all rows with those of a backup. They have the same order in both, which is that of the keys.
    async fn compare(&self, backup: &Checked, progress: impl Fn(u64)) -> Result<()> {
        let mut exporter = self.exporter(None);
        while exporter.next().await?.is_some() {
            progress(exporter.rows());
        }
        let rows = exporter.rows();
        ensure!(
            rows == backup.rows && exporter.rows_sha256() == backup.rows_sha256,
            "the restored store differs from the backup: the store has {rows} rows, and the backup has {}",
            backup.rows
        );
        Ok(())
    }
}

/// Returns limits without those of single rows. The host of the backup may have had higher ones, and its rows are read in any case.
fn widened(limits: StoreLimits) -> StoreLimits {
    let most = usize::MAX / 16;
    StoreLimits {
        key_bytes: most,
        value_bytes: most,
        room_bytes: most,
        entry_bytes: most,
        write_bytes_per_call: most,
        ..limits
    }
}

/// Counts the bytes that were read.
struct Counted<N> {
    file: File,
    bytes: u64,
    note: N,
}

impl<N: Fn(u64)> Read for Counted<N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes += read as u64;
        (self.note)(self.bytes);
        Ok(read)
    }
}
