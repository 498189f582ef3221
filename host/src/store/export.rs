//! Exports the store's content as JSON lines, from one snapshot.

use std::io::Write;

use anyhow::{Context, Result};

use super::engine::{Direction, ScanLimit, Span};
use super::export_line::ExportLine;
use super::handle::Store;
use super::metadata;
use super::space::{self, EXPORTED, Owner, Place};

/// The most that is read at once.
const READ: ScanLimit = ScanLimit { rows: 1000, bytes: 1 << 20 };

/// The result of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// The number of keys, rooms, entries, and states from before.
    pub rows: u64,
}

impl Store {
    /// Writes all keys, rooms and entries as JSON lines, or those of one plugin. It reads them from one snapshot, and holds at most a
    /// page of them (1000 rows and about 1 MiB) in memory. It doesn't see the writes of calls that run meanwhile.
    ///
    /// # Errors
    /// If the store can't be read, or the output can't be written.
    pub async fn export(&self, plugin: Option<&Owner>, out: &mut impl Write) -> Result<Exported> {
        let seen = self.seen();
        let spans: Vec<Span> = match plugin {
            Some(owner) => EXPORTED.map(|kind| owner.span(kind)).into(),
            None => space::everything().into(),
        };
        let mut exported = Exported::default();
        let ids_ms = seen.number(&metadata::mark()).await.context("reading the store")?;
        out.write_all(&ExportLine::Head { ids_ms }.write()?).context("writing the export")?;
        for span in spans {
            let mut unread = Some(span);
            while let Some(span) = unread.take() {
                let read = seen.rows(&span, READ).await.context("reading the store")?;
                if let Some((last, _)) = read.rows.last().filter(|_| !read.ended) {
                    unread = Some(span.split_after(last, Direction::Forward).1);
                }
                exported.rows += read.rows.len() as u64;
                for (place, value) in read.rows {
                    let place = Place::read(&place).context("the store is damaged: a key belongs to no plugin")?;
                    out.write_all(&ExportLine::row(place, value).write()?).context("writing the export")?;
                }
            }
        }
        out.write_all(&ExportLine::End { rows: exported.rows }.write()?).context("writing the export")?;
        out.flush().context("writing the export")?;
        Ok(exported)
    }
}
