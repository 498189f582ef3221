//! A durable room as it was before a build on probation upgraded it, in its stored form. It is stored next to the room,
//! so that a rollback is possible after a restart of the host too.
//!
//! ```text
//! 1 probation commits 0                    there was no room
//! 1 probation commits 1 version bytes      there was this one
//! 2 probation commits sums ..              the same, with the sums of the entries before
//! ```
//!
//! `sums` are the number of entries, their bytes, and those that were published. Form 2 is for a topic that had entries.

use bennu_semantics::entries::EntrySums;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The state of a room before the upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::channel) struct Former {
    /// The number of the probation under which it was upgraded.
    pub(in crate::channel) probation: u64,
    /// The number of its commits since then.
    pub(in crate::channel) commits: u64,
    /// Its bytes and their version; none if the build on probation created the room.
    pub(in crate::channel) state: Option<(Bytes, u32)>,
    /// The sums of the topic's entries then. They count only if the entries have been changed since.
    pub(in crate::channel) sums: EntrySums,
}

/// The first byte of the stored form, without and with sums.
const FORM: u8 = 1;
const FORM_WITH_SUMS: u8 = 2;

impl Former {
    /// Its stored form.
    pub(in crate::channel) fn encode(&self) -> Bytes {
        let state = self.state.as_ref().map_or(0, |(bytes, _)| size_of::<u32>() + bytes.len());
        let mut stored = BytesMut::with_capacity(2 + 5 * size_of::<u64>() + state);
        let has_sums = self.sums != EntrySums::default();
        stored.put_u8(if has_sums { FORM_WITH_SUMS } else { FORM });
        stored.put_u64(self.probation);
        stored.put_u64(self.commits);
        if has_sums {
            let EntrySums { entries, bytes, published } = self.sums;
            [entries, bytes, published].into_iter().for_each(|number| stored.put_u64(number));
        }
        stored.put_u8(u8::from(self.state.is_some()));
        if let Some((bytes, version)) = &self.state {
            stored.put_u32(*version);
            stored.put_slice(bytes);
        }
        stored.freeze()
    }

    /// Reads a stored form; none if it is damaged, or of a later form.
    pub(in crate::channel) fn decode(mut stored: Bytes) -> Option<Self> {
        let form = stored.try_get_u8().ok()?;
        let (probation, commits) = (stored.try_get_u64().ok()?, stored.try_get_u64().ok()?);
        let mut number = || stored.try_get_u64().ok();
        let sums = match form {
            FORM => EntrySums::default(),
            FORM_WITH_SUMS => EntrySums { entries: number()?, bytes: number()?, published: number()? },
            _ => return None,
        };
        let state = match stored.try_get_u8().ok()? {
            0 => stored.is_empty().then_some(None)?,
            1 => {
                let version = stored.try_get_u32().ok()?;
                Some((stored, version))
            }
            _ => return None,
        };
        Some(Self { probation, commits, state, sums })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_former_state_is_read_unchanged() {
        for state in [None, Some((Bytes::new(), 0)), Some((Bytes::from_static(b"\x00room\xff"), u32::MAX))] {
            for sums in [EntrySums::default(), EntrySums { entries: 1, bytes: 0, published: u64::MAX }] {
                let former = Former { probation: 1_764_340_000_000, commits: 7, state: state.clone(), sums };
                assert_eq!(Former::decode(former.encode()), Some(former));
            }
        }
    }

    #[test]
    fn a_damaged_former_state_is_not_read() {
        let (state, sums) = (Some((Bytes::from_static(b"ab"), 3)), EntrySums::default());
        let whole = Former { probation: 1, commits: 2, state, sums }.encode();
        // A state that is truncated after its version looks like a shorter one. But the store doesn't truncate values.
        for length in 0..whole.len() - 2 {
            assert_eq!(Former::decode(whole.slice(..length)), None, "{length} bytes");
        }
        let mut later = whole.to_vec();
        later[0] = FORM_WITH_SUMS + 1;
        assert_eq!(Former::decode(later.into()), None);
        let mut odd = whole.to_vec();
        odd[17] = 2;
        assert_eq!(Former::decode(odd.into()), None);
    }
}
