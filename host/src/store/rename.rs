//! What one plugin has, under another name.

use anyhow::{Context, Result, ensure};

use super::engine::{Direction, ScanLimit, Writes};
use super::handle::Store;
use super::metadata;
use super::space::{KINDS, Owner};

/// How much is read at once.
const READ: ScanLimit = ScanLimit { rows: 1000, bytes: 1 << 20 };

/// What was given another name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renamed {
    /// Keys, rooms, and what rooms were before a build on probation.
    pub rows: u64,
}

impl Store {
    /// Gives all keys and rooms of one name to another one that has nothing, all at once. It holds them in memory meanwhile.
    ///
    /// # Errors
    /// Where the first has nothing, the other one has something, or the store fails. Nothing has changed then.
    pub async fn rename(&self, old: &Owner, new: &Owner) -> Result<Renamed> {
        let seen = self.seen();
        let reading = || "reading the store";
        let (before, has) = (old.name(), new.name());
        let bytes = metadata::read(&*seen.snapshot, &metadata::usage(before)).await.with_context(reading)?.unwrap_or(0);
        ensure!(bytes > 0, "`{before}` has nothing in the store; `bennu store usage` says who has");
        let taken = metadata::read(&*seen.snapshot, &metadata::usage(has)).await.with_context(reading)?.unwrap_or(0);
        ensure!(taken == 0, "`{has}` has {taken} bytes in the store already, and nothing of them is overwritten");
        let mut writes =
            Writes::from([(metadata::usage(before), None), (metadata::usage(has), Some(metadata::entry(bytes)))]);
        let mut renamed = Renamed::default();
        for kind in KINDS {
            let mut unread = Some(old.span(kind));
            while let Some(span) = unread.take() {
                let read = seen.snapshot.scan(&span, Direction::Forward, READ).await.with_context(reading)?;
                if let Some((last, _)) = read.rows.last().filter(|_| !read.ended) {
                    unread = Some(span.split_after(last, Direction::Forward).1);
                }
                renamed.rows += read.rows.len() as u64;
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
