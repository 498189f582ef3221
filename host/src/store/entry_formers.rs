//! The rows of before-images: entries as they were at the rollback point of their topic.
//!
//! ```text
//! probation 0                    there was no entry
//! probation 1 version value      there was this one
//! ```
//!
//! A row has an effect only while the former state of its topic's room has the same probation.

use bennu_semantics::entries::{EntrySums, FormerEntry, Packed};
use bennu_semantics::limits::Oversize;
use bytes::{BufMut, Bytes, BytesMut};

use super::draft::{Draft, ReadError, Seen};
use super::engine::{Direction, EngineError, ScanLimit, Span, successor};
use super::entry_rows::{EntryRows, entry_row, split};
use super::entry_sums::StoredSums;
use super::space::{Kind, Owner, split_entry_name};

/// The most rows that are read at once.
const AT_ONCE: ScanLimit = ScanLimit { rows: 1000, bytes: 1 << 20 };

/// An entry at a rollback point, or without a version its absence.
pub(super) type EntryFormer = (Packed, Option<u32>);

impl EntryRows<'_> {
    /// Returns the entries before the rollback point of this probation, by `each`.
    ///
    /// # Errors
    /// If the engine fails, or a row is damaged.
    pub async fn formers(&self, probation: u64, each: impl FnMut(EntryFormer)) -> Result<(), EngineError> {
        formers_of(&self.seen, self.owner, self.topic, probation, each).await
    }
}

impl Draft {
    /// Writes an entry as it was at the rollback point of this probation. The host does this. It counts neither for the limits
    /// of a call's writes nor for the plugin's quota.
    ///
    /// # Errors
    /// If the topic is too long.
    pub fn set_entry_former(&mut self, topic: &str, probation: u64, former: FormerEntry<'_>) -> Result<(), Oversize> {
        self.check_topic(topic)?;
        let place = self.owner.entry_place(Kind::EntryFormers, topic, former.key);
        self.writes.insert(place, Some(encode(probation, former)));
        Ok(())
    }

    /// Writes the entries of a topic as they were at the rollback point of this probation. `sums` are those of all entries then.
    /// The caller has read the former state of the topic's room, so that a commit which changes them meanwhile is a conflict.
    /// Returns whether there are such entries.
    ///
    /// # Errors
    /// If the engine fails, or a row is damaged.
    pub async fn roll_back_entries(
        &mut self,
        topic: &str,
        probation: u64,
        sums: EntrySums,
    ) -> Result<bool, EngineError> {
        let mut rows = Vec::new();
        formers_of(&self.seen, &self.owner, topic, probation, |former| rows.push(former)).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        for (packed, version) in rows {
            let place = self.owner.entry_place(Kind::Entries, topic, packed.key());
            self.writes.insert(place, version.map(|version| entry_row(version, packed.value())));
        }
        let sums = StoredSums { sums, ..StoredSums::default() };
        self.writes.insert(self.owner.place(Kind::EntrySums, topic.as_bytes()), sums.encode());
        Ok(true)
    }

    /// Deletes the before-images that have no effect any more, from a row on. Returns the place from which to continue.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn sweep_entry_formers(&mut self, from: Option<Bytes>) -> Result<Option<Bytes>, ReadError> {
        let all = self.owner.span(Kind::EntryFormers);
        let span = Span { from: from.unwrap_or(all.from), until: all.until };
        let found = self.seen.rows(&span, AT_ONCE).await?;
        // The rows of a topic follow one another.
        let mut kept: Option<(String, Option<u64>)> = None;
        for (place, row) in &found.rows {
            let name = self.owner.name_of(place);
            let Some((topic, _)) = split_entry_name(&name) else { continue };
            if kept.as_ref().is_none_or(|(last, _)| last != topic) {
                // The room's former state has the probation after one byte.
                let former = self.former(topic).await?;
                kept = Some((topic.to_owned(), former.and_then(|former| number(former.get(1..)?))));
            }
            if number(row) != kept.as_ref().and_then(|(_, probation)| *probation) {
                self.writes.insert(place.clone(), None);
            }
        }
        let last = found.rows.last().filter(|_| !found.ended);
        Ok(last.map(|(place, _)| successor(place)))
    }
}

async fn formers_of(
    seen: &Seen,
    owner: &Owner,
    topic: &str,
    probation: u64,
    mut each: impl FnMut(EntryFormer),
) -> Result<(), EngineError> {
    let mut unread = Some(owner.entry_formers_span(topic));
    let key_at = owner.entry_place(Kind::EntryFormers, topic, &[]).len();
    while let Some(span) = unread.take() {
        let found = seen.rows(&span, AT_ONCE).await?;
        for (place, row) in &found.rows {
            if number(row) == Some(probation) {
                each(decode(&place[key_at..], row)?);
            }
        }
        if let Some((last, _)) = found.rows.last().filter(|_| !found.ended) {
            unread = Some(span.split_after(last, Direction::Forward).1);
        }
    }
    Ok(())
}

fn encode(probation: u64, FormerEntry { entry, .. }: FormerEntry<'_>) -> Bytes {
    let bytes = entry.map_or(0, |(_, value)| size_of::<u32>() + value.len());
    let mut row = BytesMut::with_capacity(size_of::<u64>() + 1 + bytes);
    row.put_u64(probation);
    row.put_u8(u8::from(entry.is_some()));
    if let Some((version, value)) = entry {
        row.put_u32(version);
        row.put_slice(value);
    }
    row.freeze()
}

fn decode(key: &[u8], row: &[u8]) -> Result<EntryFormer, EngineError> {
    let damaged = || EngineError::new("a stored entry from before a rollback point is damaged");
    let (value, version) = match row.get(size_of::<u64>()..) {
        Some([0]) => (&[][..], None),
        Some([1, entry @ ..]) => {
            let (version, value) = split(entry).map_err(|_| damaged())?;
            (value, Some(version))
        }
        _ => return Err(damaged()),
    };
    Packed::new(key, value).map(|packed| (packed, version)).map_err(|_| damaged())
}

/// The number at the begin of a row.
fn number(row: &[u8]) -> Option<u64> {
    row.first_chunk().map(|number| u64::from_be_bytes(*number))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_entry_is_read_unchanged_and_a_damaged_one_is_not() {
        for entry in [None, Some((7, &b"value"[..])), Some((u32::MAX, &[][..]))] {
            let row = encode(u64::MAX - 1, FormerEntry { key: b"key", entry });
            assert_eq!(number(&row), Some(u64::MAX - 1));
            let (packed, version) = decode(b"key", &row).unwrap();
            assert_eq!((packed.key(), packed.value()), (&b"key"[..], entry.map_or(&[][..], |(_, value)| value)));
            assert_eq!(version, entry.map(|(version, _)| version));
            for length in 0..(size_of::<u64>() + 1).min(row.len() - 1) {
                assert!(decode(b"key", &row[..length]).is_err(), "{length} bytes");
            }
        }
        assert!(decode(b"key", &[0, 0, 0, 0, 0, 0, 0, 1, 2]).is_err());
        assert!(decode(b"", &encode(1, FormerEntry { key: b"", entry: None })).is_err());
    }
}
