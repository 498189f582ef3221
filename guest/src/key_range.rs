//! A range of keys that is read page by page.

/// The most entries that the host returns at once.
const PAGE_MOST: usize = 1000;

/// The part of a range that is left to be read.
#[derive(Clone, Debug)]
pub(crate) struct KeyRange {
    /// The first key of the range.
    pub(crate) start: Vec<u8>,
    /// The first key after the range; none if the range ends with the last key.
    pub(crate) end: Option<Vec<u8>>,
    /// Whether it is read from its end.
    pub(crate) is_backward: bool,
    /// The most entries to read.
    pub(crate) limit: usize,
}

/// The arguments of a read.
#[derive(Debug, PartialEq)]
pub(crate) struct Page<'a> {
    pub(crate) start: Option<&'a [u8]>,
    pub(crate) end: Option<&'a [u8]>,
    /// The most entries.
    pub(crate) limit: u32,
}

impl KeyRange {
    /// The keys that begin with `prefix`.
    pub(crate) fn of_prefix(prefix: &[u8], limit: usize) -> Self {
        Self { start: prefix.to_vec(), end: end_of(prefix), is_backward: false, limit }
    }

    /// Begins the range with this key, unless it begins later.
    pub(crate) fn begin_with(&mut self, key: Vec<u8>) {
        if key > self.start {
            self.start = key;
        }
    }

    /// Ends the range before this key, unless it ends earlier.
    pub(crate) fn end_before(&mut self, key: Vec<u8>) {
        if self.end.as_ref().is_none_or(|end| key < *end) {
            self.end = Some(key);
        }
    }

    /// Returns the next read, or none if nothing is left.
    pub(crate) fn next_page(&self) -> Option<Page<'_>> {
        if self.limit == 0 || self.end.as_ref().is_some_and(|end| *end <= self.start) {
            return None;
        }
        let start = Some(self.start.as_slice()).filter(|start| !start.is_empty());
        Some(Page { start, end: self.end.as_deref(), limit: self.limit.min(PAGE_MOST) as u32 })
    }

    /// Shortens the range by a page that was read. `last` is the last key of the page, if it isn't empty.
    pub(crate) fn advance(&mut self, count: usize, last: Option<&[u8]>) {
        self.limit = self.limit.saturating_sub(count);
        match last {
            Some(last) if self.is_backward => self.end = Some(last.to_vec()),
            Some(last) => self.start = successor(last.to_vec()),
            None => self.limit = 0,
        }
    }
}

/// Returns the first key after this one.
pub(crate) fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// Returns the first key after all keys that begin with `prefix`.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_after_it() {
        assert_eq!(end_of(b"a"), Some(b"b".to_vec()));
        assert_eq!(end_of(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!((end_of(b""), end_of(b"\xff")), (None, None));
    }

    #[test]
    fn a_range_only_becomes_shorter() {
        fn page<'a>(start: &'a [u8], end: &'a [u8], limit: u32) -> Option<Page<'a>> {
            Some(Page { start: Some(start), end: Some(end), limit })
        }

        let mut range = KeyRange::of_prefix(b"b", 5);
        range.begin_with(b"a".to_vec());
        range.end_before(b"d".to_vec());
        assert_eq!(range.next_page(), page(b"b", b"c", 5));
        range.begin_with(b"b1".to_vec());
        range.end_before(b"b7".to_vec());
        assert_eq!(range.next_page(), page(b"b1", b"b7", 5));
        range.advance(2, Some(b"b3"));
        assert_eq!(range.next_page(), page(b"b3\0", b"b7", 3));
        range.is_backward = true;
        range.advance(1, Some(b"b5"));
        assert_eq!(range.next_page(), page(b"b3\0", b"b5", 2));
        range.advance(0, None);
        assert_eq!(range.next_page(), None);
    }
}
