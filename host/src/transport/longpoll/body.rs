//! What a POST brings: one message, or a batch of lines.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use bytestring::ByteString;

use crate::protocol::Incoming;

/// The media type of a batch. Anything else is one message.
const BATCH: &[u8] = b"application/x-ndjson";

/// Lines of a batch that are looked at, as in Phoenix. What comes after them is lost.
const LINES_MAX: usize = 100;

/// Why a body can't be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A message has more bytes than one may have.
    TooLarge,
    /// It is no text, or a line is no base64.
    Garbage,
}

/// The messages of a body, each of which has so many bytes at most. A line that starts with a bracket is text, any other is
/// base64 of a binary frame.
pub(super) fn read(body: &Bytes, content_type: Option<&[u8]>, frame_bytes: usize) -> Result<Vec<Incoming>, Unreadable> {
    let text = ByteString::try_from(body.clone()).map_err(|_| Unreadable::Garbage)?;
    let is_batch = content_type.is_some_and(is_batch);
    let lines = if is_batch {
        text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).take(LINES_MAX).collect()
    } else {
        vec![&*text]
    };
    let frame = |line: &str| {
        let frame = if !is_batch || line.starts_with('[') {
            Incoming::Text(text.slice_ref(line))
        } else {
            Incoming::Binary(BASE64_STANDARD.decode(line).map_err(|_| Unreadable::Garbage)?.into())
        };
        if frame.len() > frame_bytes { Err(Unreadable::TooLarge) } else { Ok(frame) }
    };
    lines.into_iter().map(frame).collect()
}

/// A media type is the same in small and capital letters, and parameters may follow it (RFC 9110, 8.3.1).
fn is_batch(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(BATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(body: &str) -> Result<Vec<Incoming>, Unreadable> {
        read(&Bytes::copy_from_slice(body.as_bytes()), Some(BATCH), 100)
    }

    fn text(text: &'static str) -> Incoming {
        Incoming::Text(text.into())
    }

    #[test]
    fn a_batch_has_a_message_in_each_line() {
        assert_eq!(batch("[1]\n[2]\r\n[3]"), Ok(vec![text("[1]"), text("[2]"), text("[3]")]));
        assert_eq!(batch("[1]\nAAEC"), Ok(vec![text("[1]"), Incoming::Binary(Bytes::from_static(&[0, 1, 2]))]));
        // An empty line is an empty message, which nobody can read.
        assert_eq!(batch("[1]\n"), Ok(vec![text("[1]"), Incoming::Binary(Bytes::new())]));
        assert_eq!(batch("{\"topic\":\"t\"}"), Err(Unreadable::Garbage));
        assert_eq!(batch(&format!("[{}]", "1".repeat(100))), Err(Unreadable::TooLarge));
        assert_eq!(batch(&"[1]\n".repeat(150)).map(|frames| frames.len()), Ok(LINES_MAX));
    }

    #[test]
    fn a_media_type_has_no_case_and_may_have_parameters() {
        for batch in ["application/x-ndjson", "Application/X-NDJSON", "application/x-ndjson ; charset=UTF-8"] {
            assert!(is_batch(batch.as_bytes()), "{batch}");
        }
        for other in ["application/json", "application/x-ndjson2", "x/application/x-ndjson", ""] {
            assert!(!is_batch(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn anything_else_is_one_message() {
        let body = Bytes::from_static(b"{\"topic\":\n\"t\"}");
        assert_eq!(read(&body, Some(b"application/json"), 100), Ok(vec![text("{\"topic\":\n\"t\"}")]));
        assert_eq!(read(&body, None, 5), Err(Unreadable::TooLarge));
        assert_eq!(read(&Bytes::from_static(&[255]), None, 5), Err(Unreadable::Garbage));
    }
}
