//! The batches that two log files hold and the tree doesn't have yet.

use std::fmt;

use bytes::Bytes;

use super::files::LOG_FILES;
use super::record::{self, HEADER, Mark};
use crate::store::engine::Writes;

/// What has to be written to the tree after a crash.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Replay {
    /// The rows, as the last of the batches leaves them.
    pub(in crate::store) writes: Writes,
    /// The number of batches.
    pub(in crate::store) batches: u64,
    /// The mark of the last batch.
    pub(in crate::store) last: Mark,
}

/// Why the files can't be replayed. Nothing can be concluded from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Damage {
    /// A file has another salt than the tree.
    OfAnotherStore,
    /// A batch can't be read, though a later one is there.
    Missing {
        /// Its number.
        sequence: u64,
        /// Where it should be. None if no file has batches before it.
        place: Option<Place>,
        /// The file of which all batches are later: 0 or 1. None if they are in the same file.
        later: Option<usize>,
    },
}

/// A place in a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Place {
    /// The file: 0 or 1.
    pub(in crate::store) file: usize,
    /// In bytes.
    pub(in crate::store) offset: usize,
}

/// A file, and how far it was read.
struct FileReader {
    content: Bytes,
    /// The mark of its first record. None if there is none.
    first: Option<Mark>,
    place: Place,
}

/// Reads the contents of both files. `stored` is the mark of the last batch that the tree has.
///
/// The last record of the later file may be torn: its batch wasn't acknowledged. Nothing else may be missing, because a
/// batch is written only after all earlier ones are synced. So if a record can't be read, and a later one has left a
/// [trace](record::has_later), the files are damaged. Damage without such a trace can't be told from a torn record: that of the last
/// record alone, for example.
///
/// # Errors
/// If a file belongs to another store, or batches are missing.
pub(in crate::store) fn replay(files: [Bytes; 2], stored: Mark) -> Result<Replay, Damage> {
    let readers = files.into_iter().enumerate().map(|(file, content)| FileReader::new(file, content, stored.salt));
    let mut readers = readers.collect::<Result<Vec<_>, _>>()?;
    readers.sort_by_key(|reader| reader.first.map_or(u64::MAX, |first| first.sequence));
    let mut replay = Replay { last: stored, ..Replay::default() };
    let mut place = None;
    for reader in &mut readers {
        let Some(first) = reader.first else { continue };
        let next = replay.last.next().sequence;
        if first.sequence > next {
            return Err(Damage::Missing { sequence: next, place, later: Some(reader.place.file) });
        }
        reader.read(first, &mut replay);
        place = Some(reader.place);
    }
    match readers.iter().find(|reader| record::has_later(&reader.content, reader.place.offset, replay.last)) {
        Some(FileReader { place, .. }) => {
            let sequence = replay.last.next().sequence;
            Err(Damage::Missing { sequence, place: Some(*place), later: None })
        }
        None => Ok(replay),
    }
}

impl FileReader {
    fn new(file: usize, content: Bytes, salt: u64) -> Result<Self, Damage> {
        let header = record::read_header(&content);
        if header.is_some_and(|first| first.salt != salt) {
            return Err(Damage::OfAnotherStore);
        }
        let records = content.slice(HEADER.min(content.len())..);
        // The first record says itself what the header says of it. So if it is whole, a torn or damaged header loses nothing.
        let first = record::read_any(&records, salt).map(|(first, _)| first).or(header);
        let offset = if first.is_some() { HEADER } else { 0 };
        Ok(Self { content, first, place: Place { file, offset } })
    }

    /// Returns what wasn't read yet.
    fn rest(&self) -> Bytes {
        self.content.slice(self.place.offset..)
    }

    /// Reads records until one can't be read.
    fn read(&mut self, first: Mark, replay: &mut Replay) {
        let mut mark = first;
        while let Some(record) = record::read(&self.rest(), mark) {
            if mark.sequence > replay.last.sequence {
                replay.writes.extend(record::rows(&record));
                replay.batches += 1;
                replay.last = mark;
            }
            self.place.offset += record.len();
            mark = mark.next();
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |file: usize| LOG_FILES.get(file).copied().unwrap_or_default();
        match self {
            Self::OfAnotherStore => f.write_str(
                "its log files belong to another state of the store: restore all files of the data directory together, \
                 or remove the log files to start without their commits",
            ),
            Self::Missing { sequence, place, later } => {
                write!(f, "its log files are damaged: commit {sequence} can't be read")?;
                if let Some(Place { file, offset }) = place {
                    write!(f, " at byte {offset} of {}", name(*file))?;
                }
                let cut = place.map(|Place { file, offset }| format!("truncate -s {offset} {}", name(file)));
                let remove = later.map(|file| format!("rm {}", name(file)));
                let commands: Vec<String> = cut.into_iter().chain(remove).collect();
                write!(
                    f,
                    ", though later ones are there; restore a backup, or give up this commit and all later ones: then run \
                     `{}` in the data directory",
                    commands.join(" && ")
                )
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SALT: u64 = 7;

    fn at(sequence: u64) -> Mark {
        Mark { salt: SALT, sequence }
    }

    /// The writes of a batch: one key that all batches write, and one of its own.
    fn batch(sequence: u64) -> Writes {
        let value = Bytes::from(sequence.to_string());
        Writes::from([("last".into(), Some(value.clone())), (value, Some(Bytes::new()))])
    }

    /// A file with the records of these batches.
    fn file(batches: std::ops::RangeInclusive<u64>) -> Bytes {
        let header = record::header(at(*batches.start()));
        let records = batches.flat_map(|sequence| record::encode(at(sequence), &batch(sequence)).unwrap());
        header.into_iter().chain(records).collect()
    }

    fn expected(stored: u64, last: u64) -> Replay {
        let writes = (stored + 1..=last).fold(Writes::new(), |mut writes, sequence| {
            writes.extend(batch(sequence));
            writes
        });
        Replay { writes, batches: last - stored, last: at(last) }
    }

    #[test]
    fn files_are_replayed_in_the_order_of_their_numbers() {
        for files in [[file(1..=3), file(4..=6)], [file(4..=6), file(1..=3)]] {
            assert_eq!(replay(files.clone(), at(0)), Ok(expected(0, 6)));
            assert_eq!(replay(files.clone(), at(2)), Ok(expected(2, 6)), "the tree has two already");
            assert_eq!(replay(files.clone(), at(4)), Ok(expected(4, 6)));
            assert_eq!(replay(files, at(6)), Ok(expected(6, 6)));
        }
        assert_eq!(replay([file(5..=6), Bytes::new()], at(4)), Ok(expected(4, 6)));
        assert_eq!(replay([Bytes::new(), vec![0; 1000].into()], at(4)), Ok(expected(4, 4)));
    }

    #[test]
    fn the_last_record_is_there_whole_or_not_at_all() {
        let (first, second, shorter) = (file(1..=3), file(4..=6), file(4..=5));
        for length in 0..second.len() {
            let replayed = replay([first.clone(), second.slice(..length)], at(0)).unwrap();
            assert!((3..6).contains(&replayed.last.sequence));
            assert!(length < shorter.len() || replayed.last.sequence == 5, "{length}");
            assert_eq!(replayed, expected(0, replayed.last.sequence));
        }
    }

    #[test]
    fn stale_records_after_the_last_one_are_not_read() {
        // The file had the batches 1 to 6, and is reused from batch 10 on. All records have the same length.
        let (old, new) = (file(1..=6), file(10..=12));
        let reused = Bytes::from([&new[..], &old[new.len()..]].concat());
        assert_eq!(replay([reused.clone(), file(7..=9)], at(9)), Ok(expected(9, 12)));
        // The header of the new use wasn't written, or is damaged.
        for header in [old.slice(..HEADER), vec![0; HEADER].into(), vec![0xa5; HEADER].into()] {
            let reused = Bytes::from([&header[..], &reused[HEADER..]].concat());
            assert_eq!(replay([reused, file(7..=9)], at(6)), Ok(expected(6, 12)));
        }
        // The header of the new use was written, and its first record wasn't.
        let reused = Bytes::from([&new[..HEADER], &old[HEADER..]].concat());
        assert_eq!(replay([reused, file(7..=9)], at(9)), Ok(expected(9, 9)));
    }

    #[test]
    fn a_file_of_another_salt_and_missing_batches_are_errors() {
        let other = Mark { salt: 8, sequence: 3 };
        assert_eq!(replay([file(1..=3), Bytes::new()], other), Err(Damage::OfAnotherStore));
        let missing = Damage::Missing { sequence: 3, place: None, later: Some(0) };
        assert_eq!(replay([file(4..=6), Bytes::new()], at(2)), Err(missing));
        assert!(missing.to_string().ends_with("then run `rm bennu.redb-log1` in the data directory"), "{missing}");
        let first = file(1..=3);
        let damaged = first.slice(..first.len() - 1);
        let place = Some(Place { file: 0, offset: file(1..=2).len() });
        let missing = Damage::Missing { sequence: 3, place, later: Some(1) };
        assert_eq!(replay([damaged, file(4..=6)], at(0)), Err(missing));
        let command = format!("then run `truncate -s {} bennu.redb-log1 && rm bennu.redb-log2` in", file(1..=2).len());
        assert!(missing.to_string().contains(&command), "{missing}");
    }

    /// A file with zeros behind its records, as a host leaves it, of which a bit is flipped.
    fn flipped(batches: std::ops::RangeInclusive<u64>, at: usize) -> Bytes {
        let mut bytes = [&file(batches)[..], &[0; 100]].concat();
        bytes[at] ^= 1 << (at % 8);
        bytes.into()
    }

    /// The record that a byte of the file with the batches 1 to 6 belongs to. All of them have the same length.
    fn damaged_at(at: usize) -> u64 {
        let length = file(1..=1).len() - HEADER;
        1 + u64::try_from((at - HEADER) / length).unwrap()
    }

    #[test]
    fn a_damaged_record_before_a_whole_one_is_an_error_and_the_last_one_counts_as_torn() {
        let (whole, older) = (file(1..=6), file(1..=3));
        for at in HEADER..whole.len() {
            let damaged = damaged_at(at);
            let found = replay([Bytes::new(), flipped(1..=6, at)], self::at(0));
            if damaged == 6 {
                assert_eq!(found, Ok(expected(0, 5)), "byte {at}");
                continue;
            }
            let offset = file(1..=damaged).len() - (file(1..=1).len() - HEADER);
            let place = Some(Place { file: 1, offset });
            assert_eq!(found, Err(Damage::Missing { sequence: damaged, place, later: None }), "byte {at}");
            // What the message says, if nobody can restore a backup.
            let cut = flipped(1..=6, at).slice(..offset);
            assert_eq!(replay([Bytes::new(), cut], self::at(0)), Ok(expected(0, damaged - 1)), "byte {at}");
            // The tree has all of them.
            assert_eq!(replay([Bytes::new(), flipped(1..=6, at)], self::at(6)), Ok(expected(6, 6)), "byte {at}");
        }
        // Two records are damaged, or the file before: the gap is found all the same.
        let mut twice = flipped(1..=6, HEADER).to_vec();
        twice[whole.len() - 1] ^= 1;
        assert!(replay([twice.into(), Bytes::new()], self::at(0)).is_err());
        for at in HEADER..older.len() {
            assert!(replay([flipped(1..=3, at), file(4..=6)], self::at(0)).is_err(), "byte {at}");
        }
    }

    #[test]
    fn damage_of_the_last_records_is_an_error_if_a_mark_is_left_of_one_after_the_first_of_them() {
        let (place, last, end) = (file(1..=4).len(), file(1..=5).len(), file(1..=6).len());
        // The number of the last one, and the salt.
        let mark = last + 8..last + 24;
        let missing = Damage::Missing { sequence: 5, place: Some(Place { file: 1, offset: place }), later: None };
        for one in place..last {
            for other in last..end {
                let mut bytes = flipped(1..=6, one).to_vec();
                bytes[other] ^= 1;
                let expected = if mark.contains(&other) { Ok(expected(0, 4)) } else { Err(missing) };
                assert_eq!(replay([Bytes::new(), bytes.into()], at(0)), expected, "bytes {one} and {other}");
            }
        }
    }

    #[test]
    fn a_damaged_header_loses_nothing_if_the_first_record_is_whole_and_is_an_error_if_only_later_ones_are() {
        for at in 0..HEADER {
            assert_eq!(replay([flipped(1..=6, at), Bytes::new()], self::at(0)), Ok(expected(0, 6)), "byte {at}");
            assert_eq!(replay([flipped(4..=6, at), file(1..=3)], self::at(0)), Ok(expected(0, 6)), "byte {at}");
            let mut both = flipped(1..=6, at).to_vec();
            both[HEADER + 30] ^= 1;
            let missing = Damage::Missing { sequence: 1, place: Some(Place { file: 0, offset: 0 }), later: None };
            assert_eq!(replay([both.into(), Bytes::new()], self::at(0)), Err(missing), "byte {at}");
            // Its only record isn't whole either: nothing says that it was ever acknowledged.
            let mut both = flipped(4..=4, at).to_vec();
            both[HEADER + 30] ^= 1;
            assert_eq!(replay([both.into(), file(1..=3)], self::at(0)), Ok(expected(0, 3)), "byte {at}");
        }
    }

    /// What a power loss leaves of the last record, over what was there before: zeros, or records of an earlier use.
    #[test]
    fn a_torn_last_record_is_not_damage() {
        let (new, old) = (file(10..=12), file(1..=6));
        let last = file(10..=11).len();
        for behind in [vec![0; old.len()], old.to_vec()] {
            for split in last..new.len() {
                let torn = Bytes::from([&new[..split], &behind[split..]].concat());
                assert_eq!(replay([torn, file(7..=9)], at(6)), Ok(expected(6, 11)), "only {split} bytes");
                // Its end was written, and its beginning wasn't.
                let torn =
                    Bytes::from([&new[..last], &behind[last..split], &new[split..], &behind[new.len()..]].concat());
                let expected = expected(6, if torn.starts_with(&new) { 12 } else { 11 });
                assert_eq!(replay([torn, file(7..=9)], at(6)), Ok(expected), "all but {split} bytes");
            }
        }
    }
}
