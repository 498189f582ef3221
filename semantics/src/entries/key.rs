//! Keys of entries, and ranges of them.

use crate::Fault;
use crate::limits::ENTRY_KEY_BYTES_MAX;

/// A range of keys: from `start` on, up to `end`, which isn't in the range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub(super) start: Box<[u8]>,
    pub(super) end: Option<Box<[u8]>>,
}

impl KeyRange {
    /// Returns the range of all keys.
    #[must_use]
    pub fn all() -> Self {
        Self { start: Box::default(), end: None }
    }

    /// Returns the range that contains only this key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self { start: key.into(), end: Some(successor(key)) }
    }

    /// Returns the range of a scan or of a delete-range, from its arguments.
    ///
    /// # Errors
    /// Fault: oversize, if a bound is longer than the successor of the longest key.
    pub fn new(start: Option<&[u8]>, end: Option<&[u8]>) -> Result<Self, Fault> {
        let most = ENTRY_KEY_BYTES_MAX + 1;
        if let Some(bound) = start.into_iter().chain(end).find(|bound| bound.len() > most) {
            return Err(too_long(bound.len(), most));
        }
        Ok(Self { start: start.unwrap_or_default().into(), end: end.map(Into::into) })
    }

    /// Returns the first key that may be in the range. The empty key is before all others.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// Returns the first key after the range. None means that the range has no end.
    #[must_use]
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Whether no key can be in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// Checks the key of an entry.
///
/// # Errors
/// Fault: oversize, if it is empty or too long.
#[inline]
pub(super) fn check_key(key: &[u8]) -> Result<(), Fault> {
    match key.len() {
        0 => Err(Fault::oversize("the key of an entry has at least one byte")),
        1..=ENTRY_KEY_BYTES_MAX => Ok(()),
        bytes => Err(too_long(bytes, ENTRY_KEY_BYTES_MAX)),
    }
}

fn too_long(bytes: usize, most: usize) -> Fault {
    Fault::oversize(format!("the key of an entry has {bytes} bytes; at most {most}"))
}

/// Returns the first key after this one.
pub(super) fn successor(key: &[u8]) -> Box<[u8]> {
    let mut after = Vec::with_capacity(key.len() + 1);
    after.extend_from_slice(key);
    after.push(0);
    after.into_boxed_slice()
}

/// Returns the shortest key that is after `left`, and not after `right`. `left` is before `right`.
pub(super) fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    &right[..right.len().min(common_prefix(left, right) + 1)]
}

/// Returns the length of the longest prefix that both keys have.
pub(super) fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_short_and_lies_between_its_neighbours() {
        for (left, right, between) in
            [("a", "b", "b"), ("a", "ab", "ab"), ("key/1", "key/30", "key/3"), ("ab", "b", "b")]
        {
            let found = separator(left.as_bytes(), right.as_bytes());
            assert_eq!(found, between.as_bytes());
            assert!(left.as_bytes() < found && found <= right.as_bytes());
        }
    }

    #[test]
    fn keys_and_bounds_have_lengths() {
        let text = |result: Result<(), Fault>| result.map_err(|fault| fault.to_string());
        assert_eq!(text(check_key(b"")), Err("oversize: the key of an entry has at least one byte".into()));
        assert_eq!(text(check_key(&[0; 255])), Ok(()));
        let long = "oversize: the key of an entry has 256 bytes; at most 255";
        assert_eq!(text(check_key(&[0; 256])), Err(long.into()));
        let long = "oversize: the key of an entry has 257 bytes; at most 256";
        assert_eq!(text(KeyRange::new(None, Some(&[0; 257])).map(drop)), Err(long.into()));
        assert!(KeyRange::new(Some(&successor(&[0; 255])), None).is_ok_and(|range| !range.is_empty()));
        assert!(KeyRange::new(Some(b"b"), Some(b"b")).is_ok_and(|range| range.is_empty()));
    }
}
