//! The bytes of a log file: a header, and then one record for each batch. Numbers are little-endian.
//!
//! ```text
//! header   "bennulog" salt sequence crc            28 bytes; the sequence number of the first record
//! record   crc length sequence salt rows           the checksum is of all that follows it
//! row      key-length value-length key value       the length of the value is 2³² - 1 if the key is deleted
//! ```
//!
//! A file is reused without being erased, so old records can follow the last one. A record counts only if it has the next
//! sequence number, the salt of the tree, and a right checksum. The header may be unreadable if the first record is whole. No two
//! records with the same salt have the same number. The salt is random and never leaves the host, so a plugin can't store a value
//! that looks like a record. So a later record behind one that can't be read was written there, and the file is damaged:
//! see [`has_later`].

use bytes::{Buf, BufMut, Bytes, BytesMut};
use memchr::memmem;

use crate::store::engine::Writes;

/// A row of a record: a key with its new value, or none if the key is deleted. Both are slices of the record.
pub(in crate::store) type LogRow = (Bytes, Option<Bytes>);

/// A position in the sequence of all batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Mark {
    /// A random number of this opening of the store.
    pub(in crate::store) salt: u64,
    /// The number of the batch. The first batch of a store has the number 1.
    pub(in crate::store) sequence: u64,
}

/// The bytes of a header.
pub(super) const HEADER: usize = 28;

const MAGIC: &[u8; 8] = b"bennulog";

/// The bytes of a record without its rows.
const RECORD: usize = 24;

const CRC: usize = size_of::<u32>();

/// Where the mark of a record begins: after its checksum and its length.
const MARK_AT: usize = 2 * size_of::<u32>();

/// Where the salt of a record begins.
const SALT_AT: usize = RECORD - size_of::<u64>();

/// The most places that [`has_later`] reads as records.
const PLACES_MAX: usize = 64;

/// The bytes that each disk writes as a whole. They begin at a multiple of their number.
const SECTOR: usize = 512;

/// The length of the value of a row that deletes its key.
const DELETED: u32 = u32::MAX;

impl Mark {
    /// Returns the mark of the next batch.
    pub(in crate::store) fn next(self) -> Self {
        Self { sequence: self.sequence + 1, ..self }
    }
}

/// Returns the header of a file whose first record has this mark.
pub(super) fn header(first: Mark) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let mut rest = &mut header[..];
    rest.put_slice(MAGIC);
    rest.put_u64_le(first.salt);
    rest.put_u64_le(first.sequence);
    let crc = crc32fast::hash(&header[..HEADER - CRC]);
    header[HEADER - CRC..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Reads the header at the beginning of a file: the mark of its first record. Returns none if there is no valid one.
pub(super) fn read_header(file: &[u8]) -> Option<Mark> {
    let (header, mut crc) = file.get(..HEADER)?.split_at(HEADER - CRC);
    let mut fields = header.strip_prefix(MAGIC)?;
    let first = Mark { salt: fields.get_u64_le(), sequence: fields.get_u64_le() };
    (crc.get_u32_le() == crc32fast::hash(header)).then_some(first)
}

/// Returns the length of the record of a batch.
pub(in crate::store) fn length(writes: &Writes) -> usize {
    let row = |(key, value): (&Bytes, &Option<Bytes>)| {
        2 * size_of::<u32>() + key.len() + value.as_ref().map_or(0, Bytes::len)
    };
    RECORD + writes.iter().map(row).sum::<usize>()
}

/// Encodes a batch. Returns none if it is too long for a record.
pub(in crate::store) fn encode(mark: Mark, writes: &Writes) -> Option<Bytes> {
    let length = length(writes);
    let rows = u32::try_from(length - RECORD).ok()?;
    let mut record = BytesMut::with_capacity(length);
    record.put_u32_le(0);
    record.put_u32_le(rows);
    record.put_u64_le(mark.sequence);
    record.put_u64_le(mark.salt);
    for (key, value) in writes {
        record.put_u32_le(u32::try_from(key.len()).ok()?);
        let bytes = value.as_ref().map_or(Some(DELETED), |value| u32::try_from(value.len()).ok())?;
        record.put_u32_le(bytes);
        record.put_slice(key);
        record.put_slice(value.as_deref().unwrap_or_default());
    }
    let crc = crc32fast::hash(&record[CRC..]);
    record[..CRC].copy_from_slice(&crc.to_le_bytes());
    Some(record.freeze())
}

/// Returns the mark at the place where a record that begins with these bytes has it. Bytes that are no record have one, too.
fn mark(bytes: &[u8]) -> Option<Mark> {
    let mut fields = bytes.get(MARK_AT..RECORD)?;
    Some(Mark { sequence: fields.get_u64_le(), salt: fields.get_u64_le() })
}

/// Returns the record with this salt at the beginning of the bytes, and its mark. Returns none if it isn't there as a whole.
pub(super) fn read_any(bytes: &Bytes, salt: u64) -> Option<(Mark, Bytes)> {
    let mark = mark(bytes).filter(|mark| mark.salt == salt)?;
    let mut fields = bytes.get(..MARK_AT)?;
    let (crc, rows) = (fields.get_u32_le(), fields.get_u32_le());
    let length = RECORD.checked_add(usize::try_from(rows).ok()?)?;
    let is_whole = crc32fast::hash(bytes.get(CRC..length)?) == crc;
    is_whole.then(|| (mark, bytes.slice(..length)))
}

/// Returns the record with this mark at the beginning of the bytes. Returns none if it isn't there as a whole.
pub(super) fn read(bytes: &Bytes, wanted: Mark) -> Option<Bytes> {
    // The number is compared first: most records behind the last one are older ones, which needn't be read.
    mark(bytes).filter(|mark| *mark == wanted)?;
    read_any(bytes, wanted.salt).map(|(_, record)| record)
}

/// Whether the bytes of a file from a place on show that the batch after `last` was written as a whole, though its record isn't there.
///
/// A whole record of the same salt with a later number shows it, wherever it begins. So does the mark of a record after the next one,
/// though that record isn't whole either: a batch is written only after all earlier ones are synced, so a torn write leaves nothing of it.
///
/// Two kinds of marks only look so. Where a torn write ends inside of the mark of an old record, its number is mixed of old and new
/// bytes. Such a mark is in two sectors. And the number of an old record, which nobody needs any more, may have a flipped bit. It is told
/// from the number of a later record if the records up to it don't fit before it, though they were as short as records can be. Marks of
/// both kinds are read as records, and count if those are whole.
///
/// Far behind `from`, such a bit can look like a later record: 1 MiB has room for 40,000 of the shortest ones. Then files count as damaged
/// of which nobody needs the damaged part. That is the better mistake: the disk changes what it has, and nothing is lost by a refusal.
///
/// A torn write leaves hardly one place that is read in vain. If there are more than 64, the bytes are damaged, and the answer is yes,
/// so that the time has a bound.
pub(super) fn has_later(file: &Bytes, from: usize, last: Mark) -> bool {
    let (rest, salt) = (file.slice(from..), last.salt.to_le_bytes());
    let mut left = PLACES_MAX;
    memmem::find_iter(&rest, &salt).filter_map(|at| at.checked_sub(SALT_AT)).any(|at| {
        let ahead = rest.get(at..).and_then(mark).map_or(0, |mark| mark.sequence.saturating_sub(last.sequence));
        // The records between the last one and this one.
        let Some(between) = ahead.checked_sub(1) else { return false };
        let fits = between <= (at / RECORD) as u64;
        let is_in_one_sector = (from + at + MARK_AT) / SECTOR == (from + at + RECORD - 1) / SECTOR;
        if between > 0 && fits && is_in_one_sector {
            return true;
        }
        let is_left = left > 0;
        left = left.saturating_sub(1);
        !is_left || read_any(&rest.slice(at..), last.salt).is_some()
    })
}

/// Returns the rows of a record, in the order of their keys. A record with a right checksum has only whole rows.
pub(in crate::store) fn rows(record: &Bytes) -> impl Iterator<Item = LogRow> {
    let mut rest = record.slice(RECORD.min(record.len())..);
    std::iter::from_fn(move || {
        let (key, value) = (rest.try_get_u32_le().ok()?, rest.try_get_u32_le().ok()?);
        let mut take = |bytes: u32| {
            let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= rest.len())?;
            Some(rest.split_to(bytes))
        };
        let key = take(key)?;
        let value = if value == DELETED { None } else { Some(take(value)?) };
        Some((key, value))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { salt: 77, sequence: 5 };

    fn some_writes() -> Writes {
        let long = Bytes::from(vec![9; 300]);
        Writes::from([
            (Bytes::new(), Some("empty key".into())),
            ("a".into(), Some(Bytes::new())),
            ("b".into(), None),
            ("c".into(), Some(long)),
        ])
    }

    #[test]
    fn a_record_is_read_unchanged() {
        let record = encode(MARK, &some_writes()).unwrap();
        assert_eq!(record.len(), length(&some_writes()));
        let followed = Bytes::from([&record[..], b"more"].concat());
        assert_eq!(read(&followed, MARK), Some(record.clone()));
        assert_eq!(rows(&record).collect::<Writes>(), some_writes());
        let empty = encode(MARK, &Writes::new()).unwrap();
        assert_eq!((read(&empty, MARK), rows(&empty).next()), (Some(empty.clone()), None));
    }

    #[test]
    fn a_record_that_is_torn_or_changed_at_any_byte_is_not_read() {
        let record = encode(MARK, &some_writes()).unwrap();
        let before = Bytes::from(vec![0xa5; record.len()]);
        for at in 0..record.len() {
            assert_eq!(read(&record.slice(..at), MARK), None, "only {at} bytes");
            let torn = [&record[..at], &before[at..]].concat();
            assert_eq!(read(&torn.into(), MARK), None, "old bytes from {at} on");
            let torn = [&before[..=at], &record[at + 1..]].concat();
            assert_eq!(read(&torn.into(), MARK), None, "old bytes up to {at}");
            let mut changed = record.to_vec();
            changed[at] ^= 1 << (at % 8);
            assert_eq!(read(&changed.into(), MARK), None, "byte {at} is changed");
        }
    }

    #[test]
    fn a_record_of_another_salt_or_number_is_not_read() {
        let record = encode(MARK, &some_writes()).unwrap();
        assert_eq!(read(&record, Mark { salt: 78, ..MARK }), None);
        for sequence in [0, 4, 6, u64::MAX] {
            assert_eq!(read(&record, Mark { sequence, ..MARK }), None);
        }
        assert_eq!(read(&Bytes::from(vec![0; 100]), Mark::default()), None, "zeros are no record");
    }

    #[test]
    fn a_later_record_is_found_at_any_place_and_older_ones_and_other_bytes_are_not() {
        let later = encode(Mark { sequence: 6, ..MARK }, &some_writes()).unwrap();
        let older = encode(MARK, &some_writes()).unwrap();
        let other = encode(Mark { salt: 78, sequence: 6 }, &some_writes()).unwrap();
        for before in 0..40 {
            let at = |record: &[u8]| Bytes::from([&vec![0xa5; before][..], record, b"more"].concat());
            assert!(has_later(&at(&later), 0, MARK), "after {before} bytes");
            assert!(
                has_later(&at(&[&older[..], &other[..], &later[..]].concat()), before, MARK),
                "after {before} bytes and records"
            );
            assert!(!has_later(&at(&later), 0, Mark { sequence: 6, ..MARK }), "it is the last one itself");
            assert!(!has_later(&at(&older), 0, MARK) && !has_later(&at(&other), 0, MARK));
            let mut damaged = later.to_vec();
            damaged[before] ^= 1;
            assert!(!has_later(&at(&damaged), 0, MARK), "byte {before} is changed");
            assert!(!has_later(&at(&later[..later.len() - 5]), 0, MARK), "it is torn");
        }
        assert!(!has_later(&Bytes::new(), 0, MARK) && !has_later(&vec![0; 1000].into(), 0, Mark::default()));
    }

    #[test]
    fn the_mark_of_a_record_after_the_next_one_is_enough_unless_a_torn_write_or_an_old_number_can_look_so() {
        let damaged = |sequence| {
            let mut record = encode(Mark { sequence, ..MARK }, &some_writes()).unwrap().to_vec();
            record[RECORD] ^= 1;
            record
        };
        for before in 0..3 * SECTOR {
            let found = |from: usize, sequence| {
                let file = [&vec![0xa5; before][..], &damaged(sequence)[..]].concat();
                has_later(&file.into(), from, MARK)
            };
            // The mark of a record is what follows its first 8 bytes: 16 bytes, which may be in two sectors.
            let is_in_one_sector = !(497..SECTOR).contains(&((before + MARK_AT) % SECTOR));
            assert_eq!(found(0, 7), before >= RECORD && is_in_one_sector, "after {before} bytes");
            assert!(!found(before, 7), "the next record has no place before it");
            let (most, from) = ((before / RECORD) as u64, before % RECORD);
            assert_eq!(found(from, 6 + most), most > 0 && is_in_one_sector, "{most} records fit before it");
            assert!(!found(from, 7 + most) && !found(from, u64::MAX), "more than {most} records don't");
        }
    }

    /// A disk can return anything.
    #[test]
    fn bytes_with_many_places_that_look_like_later_records_are_damaged() {
        let head = [[0_u8; MARK_AT], MARK.next().sequence.to_le_bytes(), MARK.salt.to_le_bytes()].concat();
        assert!(!has_later(&head.repeat(PLACES_MAX).into(), 0, MARK));
        assert!(has_later(&head.repeat(PLACES_MAX + 1).into(), 0, MARK));
    }

    #[test]
    fn a_header_is_read_unchanged_and_a_damaged_one_is_not_read() {
        let whole = header(MARK);
        assert_eq!(read_header(&whole), Some(MARK));
        assert_eq!(read_header(&[&whole[..], b"more"].concat()), Some(MARK));
        for at in 0..HEADER {
            assert_eq!(read_header(&whole[..at]), None);
            let mut changed = whole;
            changed[at] ^= 1;
            assert_eq!(read_header(&changed), None, "byte {at} is changed");
        }
        assert_eq!(read_header(&[0; HEADER]), None);
    }
}
