//! What a plugin asks of a range of its keys, and what it gets.

use bytes::Bytes;

use super::engine::{Direction, Row, successor};

/// A range of a plugin's keys, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The first key that may be in it. The empty one is before all.
    pub from: Bytes,
    /// The first that isn't any more; none is beyond all.
    pub until: Option<Bytes>,
    /// From the least key on, or from the greatest back.
    pub direction: Direction,
    /// Rows at most, at least one.
    pub rows: usize,
    /// Bytes of keys and values at most, but for a single row.
    pub bytes: usize,
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows, in the order asked for.
    pub rows: Vec<Row>,
    /// What is left to scan where a limit was reached; there may be nothing in it.
    pub rest: Option<Scan>,
}

impl Scan {
    /// All keys, as many as the store gives at once.
    #[must_use]
    pub fn all(direction: Direction) -> Self {
        Self { from: Bytes::new(), until: None, direction, rows: usize::MAX, bytes: usize::MAX }
    }

    /// The same for the keys that begin so.
    #[must_use]
    pub fn prefix(prefix: &[u8], direction: Direction) -> Self {
        let until = prefix.iter().rposition(|byte| *byte < u8::MAX).map(|last| {
            let mut after = prefix[..=last].to_vec();
            after[last] += 1;
            after.into()
        });
        Self { from: Bytes::copy_from_slice(prefix), until, ..Self::all(direction) }
    }

    /// The same, for so many rows.
    #[must_use]
    pub fn limit(self, rows: usize) -> Self {
        Self { rows, ..self }
    }

    /// What comes after a key, in its direction.
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
    fn a_prefix_ends_where_no_key_begins_with_it() {
        let until = |prefix: &[u8]| Scan::prefix(prefix, Direction::Forward).until;
        assert_eq!(until(b"a"), Some("b".into()));
        assert_eq!(until(b"a\xff\xff"), Some("b".into()));
        assert_eq!((until(b""), until(b"\xff")), (None, None));
    }

    #[test]
    fn after_a_key_comes_what_is_beyond_it() {
        assert_eq!(Scan::all(Direction::Forward).after(b"k").from, "k\0");
        assert_eq!(Scan::all(Direction::Backward).after(b"k").until, Some("k".into()));
    }
}
