//! Exports the store's content as JSON lines, from one snapshot.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use super::draft::Seen;
use super::engine::{Direction, ScanLimit, Span};
use super::export_line::{ExportLine, VERSION};
use super::export_reader::hex;
use super::handle::Store;
use super::metadata;
use super::space::{self, EXPORTED, Owner, Place};

/// The most rows and bytes of one part. It takes about a millisecond of CPU time.
const PART: ScanLimit = ScanLimit { rows: 500, bytes: 256 << 10 };

/// The result of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// The number of keys, rooms, entries, jobs, and states from before.
    pub rows: u64,
}

/// An export that is made in parts. It reads all of them from one snapshot, and doesn't see the writes of calls that run meanwhile.
///
/// The snapshot of a data directory keeps at most two tables of the log in memory, and the pages of the tree that are replaced meanwhile on the disk.
/// The file grows by those pages, and they are used again after the export. So an export must not last without end. In a cluster,
/// it is a transaction of the database.
pub struct Exporter {
    seen: Arc<Seen>,
    /// What isn't read yet.
    spans: VecDeque<Span>,
    is_begun: bool,
    is_ended: bool,
    exported: Exported,
    digest: Sha256,
    rows_digest: Sha256,
}

impl Store {
    /// Begins an export of all keys, rooms, entries and jobs, or of those of one plugin, as they are now.
    #[must_use]
    pub fn exporter(&self, plugin: Option<&Owner>) -> Exporter {
        let spans = match plugin {
            Some(owner) => EXPORTED.map(|kind| owner.span(kind)).into(),
            None => space::everything().into(),
        };
        let (digest, rows_digest) = (Sha256::new(), Sha256::new());
        let (seen, exported) = (self.seen_for_long(), Exported::default());
        Exporter { seen, spans, is_begun: false, is_ended: false, exported, digest, rows_digest }
    }

    /// Writes an export.
    ///
    /// # Errors
    /// If the store can't be read, or the output can't be written.
    pub async fn export(&self, plugin: Option<&Owner>, out: &mut impl Write) -> Result<Exported> {
        let mut exporter = self.exporter(plugin);
        while let Some(part) = exporter.next().await? {
            out.write_all(&part).context("writing the export")?;
        }
        out.flush().context("writing the export")?;
        Ok(exporter.exported)
    }
}

impl Exporter {
    /// Returns the next lines, or none after the last one. At most about 256 KiB of rows, but at least one row.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_ended {
            return Ok(None);
        }
        let mut part = Vec::new();
        if !self.is_begun {
            self.is_begun = true;
            let ids_ms = self.seen.number(&metadata::mark()).await.context("reading the store")?;
            part.extend(ExportLine::Head { version: VERSION, ids_ms }.write()?);
            self.digest.update(&part);
        }
        let head = part.len();
        // A span of one kind of rows may have none, and an empty part would look like the end.
        while part.len() == head
            && let Some(span) = self.spans.pop_front()
        {
            self.read(&span, &mut part).await?;
        }
        self.digest.update(&part[head..]);
        self.rows_digest.update(&part[head..]);
        if self.spans.is_empty() {
            self.is_ended = true;
            let sha256 = Some(hex(self.digest.finalize_reset().as_slice()));
            part.extend(ExportLine::End { rows: self.exported.rows, sha256 }.write()?);
        }
        Ok(Some(part))
    }

    /// Makes the export readable as bytes. It must be read on a thread without a runtime of tokio, and blocks it.
    #[must_use]
    pub fn into_read(self) -> impl Read + Send {
        ExportRead { exporter: self, part: Vec::new(), at: 0, runtime: Handle::try_current().ok() }
    }

    /// Returns the number of rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.exported.rows
    }

    /// Returns the digest of the rows so far, without the first and the last line.
    pub(super) fn rows_sha256(&self) -> String {
        hex(self.rows_digest.clone().finalize().as_slice())
    }

    /// Reads the first rows of a span.
    async fn read(&mut self, span: &Span, part: &mut Vec<u8>) -> Result<()> {
        let read = self.seen.rows(span, PART).await.context("reading the store")?;
        if let Some((last, _)) = read.rows.last().filter(|_| !read.ended) {
            self.spans.push_front(span.split_after(last, Direction::Forward).1);
        }
        self.exported.rows += read.rows.len() as u64;
        for (place, value) in read.rows {
            let place = Place::read(&place).context("the store is damaged: a key belongs to no plugin")?;
            part.extend(ExportLine::row(place, value).write()?);
        }
        Ok(())
    }
}

/// The bytes of an export.
struct ExportRead {
    exporter: Exporter,
    part: Vec<u8>,
    at: usize,
    /// The runtime in which the export began: a read may wait for a database.
    runtime: Option<Handle>,
}

impl Read for ExportRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.part.len() {
            let next = match &self.runtime {
                // A runtime's own thread must not wait for it.
                Some(runtime) if Handle::try_current().is_err() => runtime.block_on(self.exporter.next()),
                _ => {
                    let next = self.exporter.next().now_or_never();
                    next.ok_or_else(|| io::Error::other("an export is read on a thread that must not block"))?
                }
            };
            (self.part, self.at) = (next.map_err(io::Error::other)?.unwrap_or_default(), 0);
        }
        let read = (&self.part[self.at..]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}
