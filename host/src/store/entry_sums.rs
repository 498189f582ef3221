//! The sums of a topic's entries, in their stored form. They are written in the same transaction as the entries.
//!
//! ```text
//! 1 entries bytes published prefixes given-up        one byte, and then five numbers of eight bytes
//! ```

use bennu_semantics::entries::EntrySums;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The stored sums of a topic's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredSums {
    /// The sums of the entries.
    pub sums: EntrySums,
    /// The hash of the prefixes of published entries with which `sums.published` was counted. 0 means no prefix.
    pub prefixes: u64,
    /// The number of the probation in which the before-images had too many bytes, so that the topic can't be rolled back. 0
    /// means none.
    pub given_up: u64,
}

/// The first byte of the stored form: its version. There is no other version yet.
const FORM: u8 = 1;

impl StoredSums {
    /// Its stored form. None if it has only zeros: then there is no row.
    pub(super) fn encode(&self) -> Option<Bytes> {
        if *self == Self::default() {
            return None;
        }
        let Self { sums: EntrySums { entries, bytes, published }, prefixes, given_up } = *self;
        let mut stored = BytesMut::with_capacity(1 + 5 * size_of::<u64>());
        stored.put_u8(FORM);
        [entries, bytes, published, prefixes, given_up].into_iter().for_each(|number| stored.put_u64(number));
        Some(stored.freeze())
    }

    /// Reads a stored form. None if it is damaged, or of a later form.
    pub(super) fn decode(mut stored: Bytes) -> Option<Self> {
        let form = stored.try_get_u8().ok()?;
        let mut next = || stored.try_get_u64().ok();
        let (entries, bytes, published) = (next()?, next()?, next()?);
        let (prefixes, given_up) = (next()?, next()?);
        let sums = EntrySums { entries, bytes, published };
        (form == FORM && stored.is_empty()).then_some(Self { sums, prefixes, given_up })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stored_sums_are_read_unchanged_and_damaged_ones_are_not_read() {
        let sums = EntrySums { entries: 1, bytes: u64::MAX, published: 3 };
        let stored = StoredSums { sums, prefixes: 4, given_up: 5 };
        let row = stored.encode().unwrap();
        assert_eq!(StoredSums::decode(row.clone()), Some(stored));
        assert_eq!(StoredSums::default().encode(), None);
        assert!((0..row.len()).all(|length| StoredSums::decode(row.slice(..length)).is_none()));
        assert_eq!(StoredSums::decode([&row[..], &[0]].concat().into()), None);
        assert_eq!(StoredSums::decode([&[FORM + 1], &row[1..]].concat().into()), None);
    }
}
