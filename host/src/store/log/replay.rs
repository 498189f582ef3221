//! The batches that two log files hold and the tree doesn't have yet.

use std::fmt;

use bytes::Bytes;

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
    /// A batch isn't there, though a later one is.
    Missing(u64),
}

/// Reads the contents of both files. `stored` is the mark of the last batch that the tree has.
///
/// The last record of the later file may be torn: its batch wasn't acknowledged. Nothing else may be missing, because a
/// batch is written only after all earlier ones are synced.
///
/// # Errors
/// If a file belongs to another store, or batches are missing.
pub(in crate::store) fn replay(files: [Bytes; 2], stored: Mark) -> Result<Replay, Damage> {
    let mut found: Vec<(Mark, Bytes)> =
        files.into_iter().filter_map(|file| Some((record::read_header(&file)?, file.slice(HEADER..)))).collect();
    if found.iter().any(|(first, _)| first.salt != stored.salt) {
        return Err(Damage::OfAnotherStore);
    }
    found.sort_by_key(|(first, _)| first.sequence);
    let mut replay = Replay { last: stored, ..Replay::default() };
    for (first, mut rest) in found {
        if first.sequence > replay.last.next().sequence {
            return Err(Damage::Missing(replay.last.next().sequence));
        }
        let mut mark = first;
        while let Some(record) = record::read(&rest, mark) {
            if mark.sequence > replay.last.sequence {
                replay.writes.extend(record::rows(&record));
                replay.batches += 1;
                replay.last = mark;
            }
            rest = rest.slice(record.len()..);
            mark = mark.next();
        }
    }
    Ok(replay)
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfAnotherStore => f.write_str(
                "its log files belong to another state of the store: restore all files of the data directory together, \
                 or remove the log files to start without their commits",
            ),
            Self::Missing(sequence) => write!(
                f,
                "its log files are damaged: commit {sequence} is missing, though later ones are there; restore a backup, \
                 or remove the log files to start with the commits before it"
            ),
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
        // The header of the new use wasn't written.
        let reused = Bytes::from([&old[..HEADER], &reused[HEADER..]].concat());
        assert_eq!(replay([reused, file(7..=9)], at(6)), Ok(expected(6, 9)));
    }

    #[test]
    fn a_file_of_another_salt_and_missing_batches_are_errors() {
        let other = Mark { salt: 8, sequence: 3 };
        assert_eq!(replay([file(1..=3), Bytes::new()], other), Err(Damage::OfAnotherStore));
        assert_eq!(replay([file(4..=6), Bytes::new()], at(2)), Err(Damage::Missing(3)));
        let first = file(1..=3);
        let damaged = first.slice(..first.len() - 1);
        assert_eq!(replay([damaged, file(4..=6)], at(0)), Err(Damage::Missing(3)));
    }
}
