//! `bennu store import`. After a signal, the rows that were committed until then are in the store, as after an error.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bennu::store::{Existing, Imported, Store as Storage};
use bennu::terminal::{Progress, Unit};

use super::stoppable::stoppable_future;
use super::{Place, rows};

/// What an import reads.
pub(super) enum Input {
    Standard,
    File(PathBuf),
    /// The store of a data directory.
    Directory(PathBuf),
}

/// What an import that was stopped says.
const STOPPED: &str = "stopped: what was committed is in the store; import all of it again with --merge";

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("standard input"),
            Self::File(path) | Self::Directory(path) => path.display().fmt(f),
        }
    }
}

pub(super) async fn import(place: Place, input: Input, existing: Existing) -> Result<()> {
    if let Input::Directory(directory) = &input
        && !directory.is_dir()
    {
        bail!("there is no data directory {}", directory.display());
    }
    let work = move || async move { into_store(&place, &input, existing).await };
    let imported = stoppable_future(STOPPED, work).await?;
    error_line!("{} imported, of {} plugins", rows(imported.rows), imported.plugins);
    Ok(())
}

async fn into_store(place: &Place, input: &Input, existing: Existing) -> Result<Imported> {
    let store = place.open_or_make().await?;
    let done = match input {
        Input::Standard => store.import(&mut std::io::stdin().lock(), existing).await,
        Input::File(path) => match Reporting::open(path) {
            Ok(file) => store.import(&mut BufReader::new(file), existing).await,
            Err(error) => Err(error.into()),
        },
        Input::Directory(directory) => import_directory(&store, place, directory, existing).await,
    };
    store.close().await;
    done.with_context(|| format!("importing {input}"))
}

/// Imports the store of a data directory. A thread exports it into a pipe.
async fn import_directory(store: &Storage, place: &Place, directory: &Path, existing: Existing) -> Result<Imported> {
    let from = Storage::open(directory, place.config()?.limits.store()).await?;
    let (input, mut output) = std::io::pipe().context("creating a pipe")?;
    let mut export = from.exporter(None).into_read();
    let exporting = std::thread::spawn(move || std::io::copy(&mut export, &mut output));
    let imported = store.import(&mut BufReader::new(input), existing).await;
    let exported = exporting.join();
    from.close().await;
    // If the import fails, the export can't write any more.
    let imported = imported?;
    exported
        .map_err(|_| anyhow!("the thread that exports panicked; this is a fault of bennu"))?
        .context("exporting")?;
    Ok(imported)
}

/// A file that is read, and whose progress is shown.
struct Reporting {
    file: File,
    progress: Progress,
    done: u64,
    all: u64,
}

impl Reporting {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let all = file.metadata()?.len();
        Ok(Self { file, progress: Progress::default(), done: 0, all })
    }
}

impl Read for Reporting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.done += read as u64;
        self.progress.report("importing", self.done, self.all, Unit::Bytes);
        Ok(read)
    }
}
