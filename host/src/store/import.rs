//! Imports JSON lines into the store.

use std::collections::BTreeSet;
use std::io::BufRead;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use super::draft::Draft;
use super::engine::{Direction, ScanLimit, Writes};
use super::entry_sums::StoredSums;
use super::export_line::ExportLine;
use super::export_reader::ExportReader;
use super::handle::Store;
use super::ids::LATEST_MS;
use super::metadata;
use super::revision::Revision;
use super::space::{KINDS, Kind, Owner, split_entry_name};
use bennu_semantics::limits::Oversize;

/// The treatment of a plugin's data that exists before an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// If there is any, the import fails, and nothing of that plugin is imported.
    #[default]
    Refuse,
    /// It stays, except the keys, rooms and entries that are imported too.
    Merge,
    /// It is deleted first.
    Replace,
}

/// The result of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The number of keys, rooms, entries, jobs, and states from before.
    pub rows: u64,
    /// The number of plugins that they belong to.
    pub plugins: u64,
}

/// The state of an import.
struct Importing<'a> {
    store: &'a Store,
    existing: Existing,
    /// The plugins that have had rows.
    met: BTreeSet<String>,
    rows: u64,
    /// The writes that aren't committed yet. All of them are of one plugin.
    draft: Option<Draft>,
    /// The rows and bytes of those writes.
    pending: ScanLimit,
    /// The topic of the last entry. Its sums aren't counted yet, because more of its entries may follow.
    topic: Option<String>,
    /// Other topics of the same plugin whose sums aren't counted yet.
    uncounted: BTreeSet<String>,
}

/// The most that is read at once, and the most that is committed together. A single row may be larger. The limits of a
/// call's writes apply too.
const READ: ScanLimit = ScanLimit { rows: 500, bytes: 1 << 20 };

impl Store {
    /// Imports the rows of JSON lines, and commits some hundreds of them at a time. Quotas don't apply.
    ///
    /// # Errors
    /// If a line is wrong, or the store fails. The error gives the line. The rows before it may have been imported. So
    /// import the corrected lines with [`Existing::Merge`].
    pub async fn import(&self, input: &mut impl BufRead, existing: Existing) -> Result<Imported> {
        let pending = ScanLimit { rows: 0, bytes: 0 };
        let mut importing = Importing {
            store: self,
            existing,
            met: BTreeSet::new(),
            rows: 0,
            draft: None,
            pending,
            topic: None,
            uncounted: BTreeSet::new(),
        };
        let mut lines = ExportReader::new(input, self.limits());
        loop {
            let taken = async {
                match lines.next_line()? {
                    None => return Ok(false),
                    Some(ExportLine::Head { ids_ms, .. }) => self.go_past(ids_ms).await?,
                    Some(ExportLine::Row { plugin, kind, name, value }) => {
                        importing.row(&plugin, kind, &name, value).await?;
                    }
                    Some(ExportLine::End { .. } | ExportLine::Failed { .. }) => {}
                }
                anyhow::Ok(true)
            };
            if !taken.await.with_context(|| lines.place())? {
                break;
            }
        }
        importing.finish().await?;
        Ok(Imported { rows: importing.rows, plugins: importing.met.len() as u64 })
    }
}

impl Store {
    /// Makes sure that ids that are drawn from now on sort after the imported ones: raises the stored id mark.
    async fn go_past(&self, ids_ms: Option<u64>) -> Result<()> {
        ensure!(ids_ms.is_none_or(|ids_ms| ids_ms <= LATEST_MS), "its `ids_ms` is later than any id can be");
        let seen = self.seen();
        let has = seen.number(&metadata::mark()).await.context("reading the store")?;
        let Some(ids_ms) = ids_ms.filter(|ids_ms| has.is_none_or(|has| has < *ids_ms)) else { return Ok(()) };
        let writes = Writes::from([(metadata::mark(), Some(metadata::entry(ids_ms)))]);
        self.apply(writes, seen.revision).await.context("writing the store")?;
        self.ids().go_past(ids_ms);
        Ok(())
    }
}

impl Importing<'_> {
    async fn row(&mut self, plugin: &str, kind: Kind, name: &Bytes, value: Bytes) -> Result<()> {
        if self.draft.as_ref().is_none_or(|draft| draft.owner().name() != plugin) {
            self.finish().await?;
            let owner = Owner::new(plugin, u64::MAX)?;
            self.draft = Some(self.store.begin(&owner));
            if self.met.insert(plugin.to_owned()) {
                self.make_room(&owner).await?;
            }
        }
        self.write(kind, name, Some(value)).await?;
        if kind == Kind::Entries {
            self.entry_of(name)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// An entry was imported, so the sums of its topic have to be counted again. If the import fails before that, they are
    /// counted when a call needs them.
    fn entry_of(&mut self, name: &Bytes) -> Result<()> {
        let (topic, _) = split_entry_name(name).context("the place of an entry is damaged")?;
        if let Some(draft) = &mut self.draft {
            draft.remove_entry_sums(topic);
        }
        if self.topic.as_deref() != Some(topic) {
            self.uncounted.extend(self.topic.replace(topic.to_owned()));
        }
        Ok(())
    }

    /// Commits the rows of a plugin, and the sums of its topics.
    async fn finish(&mut self) -> Result<()> {
        self.uncounted.extend(self.topic.take());
        self.flush().await?;
        self.flush().await
    }

    /// Applies the chosen policy to a plugin's existing data.
    async fn make_room(&mut self, owner: &Owner) -> Result<()> {
        match self.existing {
            Existing::Merge => Ok(()),
            Existing::Refuse => {
                let (name, bytes) = (owner.name(), self.store.usage_with_jobs(owner.name()).await?);
                ensure!(
                    bytes == 0,
                    "the plugin `{name}` already has {bytes} bytes in the store: --merge keeps them, except the rows \
                     that are imported too, and --replace deletes them first"
                );
                Ok(())
            }
            Existing::Replace => self.clear(owner).await,
        }
    }

    /// Deletes all data of a plugin.
    async fn clear(&mut self, owner: &Owner) -> Result<()> {
        let seen = self.store.seen();
        for kind in KINDS {
            let mut unread = Some(owner.span(kind));
            while let Some(span) = unread.take() {
                let read = seen.rows(&span, READ).await.context("reading the store")?;
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

    /// Adds a write to the draft. If the draft is full, it is committed first.
    async fn write(&mut self, kind: Kind, name: &[u8], value: Option<Bytes>) -> Result<()> {
        if !self.put(kind, name, value.clone())? {
            self.flush().await?;
            ensure!(self.put(kind, name, value)?, "it is larger than a call may write");
        }
        Ok(())
    }

    /// Adds a write to the draft. Returns false if the draft is full.
    fn put(&mut self, kind: Kind, name: &[u8], value: Option<Bytes>) -> Result<bool> {
        let has_room = self.pending.rows < READ.rows && self.pending.bytes < READ.bytes;
        let Some(draft) = self.draft.as_mut().filter(|_| has_room) else { return Ok(false) };
        let bytes = name.len() + value.as_ref().map_or(0, Bytes::len);
        let taken = match (kind, value) {
            (Kind::Keys, Some(stored)) => draft.put_stored(name, stored),
            (Kind::Keys, None) => draft.delete(name),
            (Kind::Rooms, room) => {
                let topic = std::str::from_utf8(name)?;
                // An existing former state belongs to the room that is replaced. The imported room's own former state is a
                // separate row, and exports put those rows after all rooms.
                draft.set_former(topic, None)?;
                draft.set_room(topic, room)
            }
            (Kind::Formers, former) => draft.set_former(std::str::from_utf8(name)?, former),
            (
                Kind::Entries
                | Kind::EntryFormers
                | Kind::EntrySums
                | Kind::Jobs
                | Kind::Expiries
                | Kind::Requests
                | Kind::RequestExpiries
                | Kind::Deliveries,
                row,
            ) => {
                draft.set_entry_row(kind, name, row);
                Ok(())
            }
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

    /// Commits the draft, and begins another one for the same plugin. That one has the sums of topics whose entries are now
    /// complete.
    async fn flush(&mut self) -> Result<()> {
        let Some(draft) = self.draft.take() else { return Ok(()) };
        let owner = draft.owner().clone();
        self.store.commit(draft).await.context("writing the store")?;
        let draft = self.draft.insert(self.store.begin(&owner));
        self.pending = ScanLimit { rows: 0, bytes: 0 };
        for topic in std::mem::take(&mut self.uncounted) {
            let rows = self.store.entry_rows(&owner, &topic, Revision::default()).context("reading the store")?;
            let sums = rows.count().await.context("reading the store")?;
            draft.set_entry_sums(&topic, &StoredSums { sums, ..StoredSums::default() })?;
        }
        Ok(())
    }
}
