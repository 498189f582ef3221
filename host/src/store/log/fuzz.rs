//! A fuzz target of the log files: see `crate::fuzz`.

use bytes::Bytes;

use super::record::{Mark, encode, header, rows};
use super::replay::replay;

/// The bytes of a record before its rows, as `record.rs` describes them.
const RECORD: usize = 24;

/// Returns a record with these rows and a right checksum, whatever the rows are.
fn sealed(mark: Mark, rows: &[u8]) -> Vec<u8> {
    let length = u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes();
    let fields = [&length[..], &mark.sequence.to_le_bytes(), &mark.salt.to_le_bytes(), rows].concat();
    [&crc32fast::hash(&fields).to_le_bytes()[..], &fields].concat()
}

/// The contents of the two log files after a crash, separated by the byte 255. They are read as they are, and then as the rows
/// of records with right checksums.
pub(crate) fn log(bytes: &[u8]) -> bool {
    let first = Mark { salt: 7, sequence: 1 };
    let at = bytes.iter().position(|byte| *byte == 255).unwrap_or(bytes.len());
    let (one, other) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let stored = Mark { salt: 7, sequence: 0 };
    let raw = [Bytes::copy_from_slice(one), Bytes::copy_from_slice(other)];
    let _ = replay(raw.clone(), stored);
    // Behind the header of this store, the bytes are old records or none, unless their checksum is right.
    let behind = |file: &Bytes| Bytes::from([&header(first)[..], file].concat());
    // An error means that a place looks like a later record, or many like the next one.
    if let Ok(found) = replay([behind(&raw[0]), behind(&raw[1])], stored) {
        assert_eq!(found.batches, 0, "bytes without a checksum are no record");
    }
    let file = [&header(first)[..], &sealed(first, one), &sealed(first.next(), other)].concat();
    let mut damaged = file.clone();
    if let Some(byte) = damaged.get_mut(header(first).len()) {
        *byte ^= 1;
    }
    assert!(replay([damaged.into(), Bytes::new()], stored).is_err(), "a damaged record before a whole one is an error");
    let Ok(found) = replay([file.into(), Bytes::new()], stored) else { return false };
    assert_eq!((found.batches, found.last), (2, first.next()));
    // What was read is written as a record, and read again.
    let Some(record) = encode(first, &found.writes) else { return false };
    assert_eq!(rows(&record).collect::<crate::store::engine::Writes>(), found.writes);
    assert!(record.len() <= RECORD + bytes.len(), "no row is longer than its bytes");
    !found.writes.is_empty()
}
