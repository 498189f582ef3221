//! Gives the data of one name to another name.

use anyhow::{Context, Result, ensure};

use super::engine::{Direction, ScanLimit, Writes};
use super::handle::Store;
use super::metadata;
use super::space::{KINDS, Kind, Owner};

/// The most that is read at once.
const READ: ScanLimit = ScanLimit { rows: 1000, bytes: 1 << 20 };

/// The result of a rename.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renamed {
    /// The number of keys, rooms, entries, jobs, deliveries, and states from before.
    pub rows: u64,
}

impl Store {
    /// Moves all keys, rooms and entries of the name `old` to the name `new`, in one batch. It holds them in memory meanwhile.
    ///
    /// # Errors
    /// If `old` has no data, if `new` has data, or if the store fails. Then nothing is changed.
    pub async fn rename(&self, old: &Owner, new: &Owner) -> Result<Renamed> {
        let seen = self.seen();
        let reading = || "reading the store";
        let (before, has) = (old.name(), new.name());
        let bytes = seen.number(&metadata::usage(before)).await.with_context(reading)?.unwrap_or(0);
        ensure!(
            self.usage_with_jobs(before).await.with_context(reading)? > 0,
            "`{before}` has nothing in the store; `bennu store usage` says who has"
        );
        let taken = self.usage_with_jobs(has).await.with_context(reading)?;
        ensure!(taken == 0, "`{has}` already has {taken} bytes in the store, and a rename doesn't overwrite data");
        let mut writes = Writes::from([
            (metadata::usage(before), None),
            (metadata::usage(has), (bytes > 0).then(|| metadata::entry(bytes))),
        ]);
        let mut renamed = Renamed::default();
        for kind in KINDS {
            let mut unread = Some(old.span(kind));
            while let Some(span) = unread.take() {
                let read = seen.rows(&span, READ).await.with_context(reading)?;
                if let Some((last, _)) = read.rows.last().filter(|_| !read.ended) {
                    unread = Some(span.split_after(last, Direction::Forward).1);
                }
                renamed.rows += if matches!(kind, Kind::EntrySums | Kind::Expiries | Kind::RequestExpiries) {
                    0
                } else {
                    read.rows.len() as u64
                };
                for (place, value) in read.rows {
                    writes.insert(new.place(kind, &old.name_of(&place)), Some(value));
                    writes.insert(place, None);
                }
            }
        }
        self.apply(writes, seen.revision).await.context("writing the store")?;
        Ok(renamed)
    }
}
