//! A durable room as it was before a build on probation upgraded it, in its stored form. It is stored next to the room,
//! so that a rollback is possible after a restart of the host too.
//!
//! ```text
//! 1 probation commits 0                    there was no room
//! 1 probation commits 1 version bytes      there was this one
//! ```

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
}

/// The first byte of the stored form: its version. There is no other version yet.
const FORM: u8 = 1;

impl Former {
    /// Its stored form.
    pub(in crate::channel) fn encode(&self) -> Bytes {
        let state = self.state.as_ref().map_or(0, |(bytes, _)| size_of::<u32>() + bytes.len());
        let mut stored = BytesMut::with_capacity(2 + 2 * size_of::<u64>() + state);
        stored.put_u8(FORM);
        stored.put_u64(self.probation);
        stored.put_u64(self.commits);
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
        let state = match stored.try_get_u8().ok()? {
            0 => stored.is_empty().then_some(None)?,
            1 => {
                let version = stored.try_get_u32().ok()?;
                Some((stored, version))
            }
            _ => return None,
        };
        (form == FORM).then_some(Self { probation, commits, state })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_former_state_is_read_unchanged() {
        for state in [None, Some((Bytes::new(), 0)), Some((Bytes::from_static(b"\x00room\xff"), u32::MAX))] {
            let former = Former { probation: 1_764_340_000_000, commits: 7, state };
            assert_eq!(Former::decode(former.encode()), Some(former));
        }
    }

    #[test]
    fn a_damaged_former_state_is_not_read() {
        let whole = Former { probation: 1, commits: 2, state: Some((Bytes::from_static(b"ab"), 3)) }.encode();
        // A state that is truncated after its version looks like a shorter one. But the store doesn't truncate values.
        for length in 0..whole.len() - 2 {
            assert_eq!(Former::decode(whole.slice(..length)), None, "{length} bytes");
        }
        let mut later = whole.to_vec();
        later[0] = FORM + 1;
        assert_eq!(Former::decode(later.into()), None);
        let mut odd = whole.to_vec();
        odd[17] = 2;
        assert_eq!(Former::decode(odd.into()), None);
    }
}
