//! Values of the store with a time to live: their stored form.
//!
//! A value without one is stored as it is. Otherwise its time follows a mark that no value begins with by chance. A plain
//! value that begins with the mark nevertheless is stored like a value that never expires. So one row has the value and its
//! time, a scan finds both in order, and a plain value costs no byte.

use bytes::{BufMut, Bytes, BytesMut};

/// The start of the stored form of a value with a time. It was drawn at random.
const MARK: [u8; 16] = *b"\xf5\x1f\xc9\x0bTTL\x9e\x83\xd1\x6a\x00\xe7\x42\xbc\xff";

/// The bytes that the stored form of a value with a time has in addition.
pub const LIFETIME_BYTES: usize = MARK.len() + size_of::<u64>();

/// The time of a plain value that begins with the mark.
const NEVER: u64 = u64::MAX;

/// Returns the stored form of a value that expires at a time, in milliseconds since 1970.
#[must_use]
pub fn seal(value: &[u8], expires_ms: u64) -> Bytes {
    let mut stored = BytesMut::with_capacity(LIFETIME_BYTES + value.len());
    stored.put_slice(&MARK);
    stored.put_u64(expires_ms);
    stored.put_slice(value);
    stored.freeze()
}

/// Returns the stored form of a value without a time.
#[must_use]
pub fn plain(value: Bytes) -> Bytes {
    if value.starts_with(&MARK) { seal(&value, NEVER) } else { value }
}

/// Returns the value of a stored form, and when it expires.
#[must_use]
pub fn open(stored: Bytes) -> (Bytes, Option<u64>) {
    match expiry(&stored) {
        None => (stored, None),
        Some(expires_ms) => {
            let value = stored.slice(LIFETIME_BYTES..);
            (value, (expires_ms != NEVER).then_some(expires_ms))
        }
    }
}

/// Whether the value of a stored form has expired.
#[must_use]
pub fn is_expired(stored: &[u8], now_ms: u64) -> bool {
    expiry(stored).is_some_and(|expires_ms| expires_ms <= now_ms && expires_ms != NEVER)
}

/// The time in a stored form, if it has the mark.
fn expiry(stored: &[u8]) -> Option<u64> {
    let time = stored.strip_prefix(&MARK)?.first_chunk()?;
    Some(u64::from_be_bytes(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_with_its_time() {
        let marked = [&MARK[..], b"rest"].concat();
        let twice = seal(&marked, 5);
        for value in [&b""[..], b"a", &MARK[..15], &MARK, &marked, &twice] {
            let value = Bytes::copy_from_slice(value);
            assert_eq!(open(plain(value.clone())), (value.clone(), None));
            assert!(!is_expired(&plain(value.clone()), u64::MAX));
            let sealed = seal(&value, 7);
            assert_eq!(sealed.len(), value.len() + LIFETIME_BYTES);
            assert_eq!(open(sealed.clone()), (value, Some(7)));
            assert_eq!((is_expired(&sealed, 6), is_expired(&sealed, 7)), (false, true));
        }
        assert_eq!(plain(Bytes::from_static(b"as it is")), "as it is");
    }
}
