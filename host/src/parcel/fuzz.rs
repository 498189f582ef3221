//! A fuzz target of parcels: see `crate::fuzz`.

use bytes::Bytes;

use super::{FRAME_BYTES, Frame, RECORD_BYTES_MAX, Record, VERSION};

/// The bytes as they are, as a frame. Then as records, each after its length in two bytes: one that is read is framed and read again
/// unchanged.
pub(crate) fn parcel(bytes: &[u8]) -> bool {
    if let Some((head, body)) = bytes.split_first_chunk::<FRAME_BYTES>() {
        if let Ok(length) = Frame::body_length(*head) {
            assert!(length <= RECORD_BYTES_MAX, "a record has a bound");
        }
        let _ = Frame::record(*head, Bytes::copy_from_slice(body));
    }
    let (mut rest, mut is_read) = (bytes, false);
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (body, after) = after.split_at(after.len().min(usize::from(u16::from_be_bytes(*length))));
        rest = after;
        let Ok(record) = Record::decode(Bytes::copy_from_slice(body)) else { continue };
        let Frame { head, body: framed } = Frame::of(&record).expect("it isn't too long");
        assert_eq!(&framed[..], [&[VERSION][..], body].concat(), "a record is written as it was read");
        assert_eq!(Frame::record(head, framed), Ok(record));
        is_read = true;
    }
    is_read
}
