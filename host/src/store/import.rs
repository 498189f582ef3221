//! JSON lines into the store.

use std::collections::BTreeSet;
use std::io::{BufRead, Read};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;

use super::draft::Draft;
use super::engine::{Direction, ScanLimit, Writes};
use super::export_line::ExportLine;
use super::handle::Store;
use super::ids::LATEST_MS;
use super::limits::Oversize;
use super::metadata;
use super::space::{KINDS, Kind, Owner};

/// What becomes of the keys and rooms that a plugin has before an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// There may be none: else nothing of that plugin is imported.
    #[default]
    Refuse,
    /// They stay, but for those that are imported too.
    Merge,
    /// They are deleted first.
    Replace,
}

/// What an import has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Keys and rooms, and what rooms were before.
    pub rows: u64,
    /// Plugins that they belong to.
    pub plugins: u64,
}

/// An import under way.
struct Importing<'a> {
    store: &'a Store,
    existing: Existing,
    /// The plugins that have had rows.
    met: BTreeSet<String>,
    rows: u64,
    /// What isn't committed yet, all of one plugin.
    draft: Option<Draft>,
    /// How much that is.
    pending: ScanLimit,
}

/// How much is read at once, and how much is committed together, but for a single row. What a call may write is a limit too.
const READ: ScanLimit = ScanLimit { rows: 500, bytes: 1 << 20 };

impl Store {
    /// Puts the rows of JSON lines into the store, as they come, some hundreds at a time. Quotas don't count.
    ///
    /// # Errors
    /// Says the line that is wrong. What stood before it may have been imported: import it again with [`Existing::Merge`].
    pub async fn import(&self, input: &mut impl BufRead, existing: Existing) -> Result<Imported> {
        let pending = ScanLimit { rows: 0, bytes: 0 };
        let mut importing = Importing { store: self, existing, met: BTreeSet::new(), rows: 0, draft: None, pending };
        let most = line_bytes_most(self);
        let mut line = Vec::new();
        let mut end = None;
        for number in 1_u64.. {
            line.clear();
            input.by_ref().take(most.saturating_add(1)).read_until(b'\n', &mut line).context("reading the import")?;
            if line.is_empty() {
                break;
            }
            let taken = async {
                ensure!(line.len() as u64 <= most, "it has more than {most} bytes, and so can't be a row");
                ensure!(end.is_none(), "the line before it was the last one");
                match (number, ExportLine::read(&line)?) {
                    (1, ExportLine::Head { ids_ms }) => self.go_past(ids_ms).await?,
                    (1, _) => bail!("it doesn't say what this is, as the first line of an export does"),
                    (_, ExportLine::Head { .. }) => bail!("another export begins; import one at a time"),
                    (_, ExportLine::End { rows }) => end = Some(rows),
                    (_, ExportLine::Row { plugin, kind, name, value }) => {
                        importing.row(&plugin, kind, &name, value).await?;
                    }
                }
                Ok(())
            };
            taken.await.with_context(|| format!("line {number}"))?;
        }
        importing.flush().await?;
        let rows = importing.rows;
        let end = end.with_context(|| {
            format!("it was cut off: its last line, {{\"rows\":..}}, isn't there; {rows} rows were imported")
        })?;
        ensure!(end == rows, "its last line says that it has {end} rows, and it has {rows}; they were imported");
        Ok(Imported { rows, plugins: importing.met.len() as u64 })
    }
}

impl Store {
    /// Has ids that are drawn from now on sort behind those that are imported.
    async fn go_past(&self, ids_ms: Option<u64>) -> Result<()> {
        ensure!(ids_ms.is_none_or(|ids_ms| ids_ms <= LATEST_MS), "its `ids_ms` is later than an id can be");
        let seen = self.seen();
        let has = metadata::read(&*seen.snapshot, &metadata::mark()).await.context("reading the store")?;
        let Some(ids_ms) = ids_ms.filter(|ids_ms| has.is_none_or(|has| has < *ids_ms)) else { return Ok(()) };
        let writes = Writes::from([(metadata::mark(), Some(metadata::entry(ids_ms)))]);
        self.apply(writes, seen.revision).await.context("writing the store")?;
        self.ids().go_past(ids_ms);
        Ok(())
    }
}

/// A line longer than that can't be a row, even if each byte is written as `\u0000`.
fn line_bytes_most(store: &Store) -> u64 {
    let limits = store.limits();
    let value = limits.value_bytes.max(limits.room_bytes);
    let bytes = limits.key_bytes.saturating_add(value).saturating_add(usize::from(u8::MAX));
    bytes.saturating_mul(6).saturating_add(1024) as u64
}

impl Importing<'_> {
    async fn row(&mut self, plugin: &str, kind: Kind, name: &Bytes, value: Bytes) -> Result<()> {
        if self.draft.as_ref().is_none_or(|draft| draft.owner().name() != plugin) {
            self.flush().await?;
            let owner = Owner::new(plugin, u64::MAX)?;
            self.draft = Some(self.store.begin(&owner));
            if self.met.insert(plugin.to_owned()) {
                self.make_room(&owner).await?;
            }
        }
        self.write(kind, name, Some(value)).await?;
        self.rows += 1;
        Ok(())
    }

    /// Does with what a plugin has already what is to be done with it.
    async fn make_room(&mut self, owner: &Owner) -> Result<()> {
        match self.existing {
            Existing::Merge => Ok(()),
            Existing::Refuse => {
                let (name, bytes) = (owner.name(), self.store.usage(owner.name()).await?);
                ensure!(
                    bytes == 0,
                    "the plugin `{name}` has {bytes} bytes in the store already: --merge keeps them, but for what is \
                     imported too, and --replace deletes them first"
                );
                Ok(())
            }
            Existing::Replace => self.clear(owner).await,
        }
    }

    /// Deletes all that a plugin has.
    async fn clear(&mut self, owner: &Owner) -> Result<()> {
        let seen = self.store.seen();
        for kind in KINDS {
            let mut unread = Some(owner.span(kind));
            while let Some(span) = unread.take() {
                let read = seen.snapshot.scan(&span, Direction::Forward, READ).await.context("reading the store")?;
                if let Some((last, _)) = read.rows.last().filter(|_| !read.ended) {
                    unread = Some(span.split_after(last, Direction::Forward).1);
                }
                for (place, _) in read.rows {
                    self.write(kind, &owner.name_of(&place), None).await?;
                }
            }
        }
        self.flush().await
    }

    /// Adds a write to those that wait. Where there is no room for it, they are committed first.
    async fn write(&mut self, kind: Kind, name: &[u8], value: Option<Bytes>) -> Result<()> {
        if !self.put(kind, name, value.clone())? {
            self.flush().await?;
            ensure!(self.put(kind, name, value)?, "it alone is more than a call may write");
        }
        Ok(())
    }

    /// Adds a write; says whether there was room for it.
    fn put(&mut self, kind: Kind, name: &[u8], value: Option<Bytes>) -> Result<bool> {
        let has_room = self.pending.rows < READ.rows && self.pending.bytes < READ.bytes;
        let Some(draft) = self.draft.as_mut().filter(|_| has_room) else { return Ok(false) };
        let bytes = name.len() + value.as_ref().map_or(0, Bytes::len);
        let taken = match (kind, value) {
            (Kind::Keys, Some(value)) => draft.put(name, value),
            (Kind::Keys, None) => draft.delete(name),
            (Kind::Rooms, room) => {
                let topic = std::str::from_utf8(name)?;
                // It belongs to the room that was there. That of this one is a row of its own, behind all rooms.
                draft.set_former(topic, None)?;
                draft.set_room(topic, room)
            }
            (Kind::Formers, former) => draft.set_former(std::str::from_utf8(name)?, former),
        };
        match taken {
            Ok(()) => {
                self.pending = ScanLimit { rows: self.pending.rows + 1, bytes: self.pending.bytes + bytes };
                Ok(true)
            }
            Err(Oversize::Writes { .. } | Oversize::WriteBytes { .. }) => Ok(false),
            Err(oversize) => Err(oversize.into()),
        }
    }

    /// Commits what waits. What comes next is the same plugin's, unless it is said otherwise.
    async fn flush(&mut self) -> Result<()> {
        let Some(draft) = self.draft.take() else { return Ok(()) };
        let owner = draft.owner().clone();
        self.store.commit(draft).await.context("writing the store")?;
        self.draft = Some(self.store.begin(&owner));
        self.pending = ScanLimit { rows: 0, bytes: 0 };
        Ok(())
    }
}
