//! Scans of a plugin's keys: the request and the result.

use bytes::Bytes;

use super::engine::{Direction, Row, successor};

/// A range of a plugin's keys, with a direction and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The first key that may be in the range. The empty key is before all others.
    pub from: Bytes,
    /// The first key after the range. None means that the range has no end.
    pub until: Option<Bytes>,
    /// From the least key to the greatest, or the other way.
    pub direction: Direction,
    /// The most rows to return. Zero counts as one.
    pub rows: usize,
    /// The most bytes of keys and values to return. A single row may be larger.
    pub bytes: usize,
}

/// The result of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows, in the scan's direction.
    pub rows: Vec<Row>,
    /// A scan of the rest of the range, if a limit was reached. It may find no rows.
    pub rest: Option<Scan>,
}

impl Scan {
    /// Creates a scan of all keys, limited only by the store.
    #[must_use]
    pub fn all(direction: Direction) -> Self {
        Self { from: Bytes::new(), until: None, direction, rows: usize::MAX, bytes: usize::MAX }
    }

    /// Creates a scan of all keys with a prefix, limited only by the store.
    #[must_use]
    pub fn prefix(prefix: &[u8], direction: Direction) -> Self {
        let until = prefix.iter().rposition(|byte| *byte < u8::MAX).map(|last| {
            let mut after = prefix[..=last].to_vec();
            after[last] += 1;
            after.into()
        });
        Self { from: Bytes::copy_from_slice(prefix), until, ..Self::all(direction) }
    }

    /// Returns the same scan with a limit of rows.
    #[must_use]
    pub fn limit(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// Returns a scan of the keys after this one, in the scan's direction.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Self {
        match self.direction {
            Direction::Forward => Self { from: successor(key), ..self.clone() },
            Direction::Backward => Self { until: Some(Bytes::copy_from_slice(key)), ..self.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_prefix_ends_after_the_last_key_with_it() {
        let until = |prefix: &[u8]| Scan::prefix(prefix, Direction::Forward).until;
        assert_eq!(until(b"a"), Some("b".into()));
        assert_eq!(until(b"a\xff\xff"), Some("b".into()));
        assert_eq!((until(b""), until(b"\xff")), (None, None));
    }

    #[test]
    fn a_scan_continues_after_a_key_in_its_direction() {
        assert_eq!(Scan::all(Direction::Forward).after(b"k").from, "k\0");
        assert_eq!(Scan::all(Direction::Backward).after(b"k").until, Some("k".into()));
    }
}
