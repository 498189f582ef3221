//! The body of a POST: one message, or a batch with one message on each line.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use bytestring::ByteString;

use crate::counts::Limit;
use crate::protocol::Incoming;

/// The media type of a batch. A body of any other type is one message.
const BATCH: &[u8] = b"application/x-ndjson";

/// The most lines of a batch that are read, as in Phoenix. Further lines are ignored.
const LINES_MAX: usize = 100;

/// Why a body is refused.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::transport) enum Unreadable {
    /// A message is larger than the limit.
    TooLarge,
    /// The body isn't UTF-8, or a line isn't base64.
    Garbage,
}

/// Reads the messages of a body. A message may have at most `frame_bytes`. In a batch, a line that begins with a bracket is
/// text, and any other line is the base64 of a binary frame.
///
/// # Errors
/// If a message is too large or can't be decoded. Then none of the messages counts.
pub(in crate::transport) fn read(
    body: &Bytes,
    content_type: Option<&[u8]>,
    frame_bytes: usize,
) -> Result<Vec<Incoming>, Unreadable> {
    let text = ByteString::try_from(body.clone()).map_err(|_| Unreadable::Garbage)?;
    let is_batch = content_type.is_some_and(is_batch);
    let lines = if is_batch {
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let taken = lines.by_ref().take(LINES_MAX).collect();
        if lines.next().is_some() {
            Limit::LongpollBody.hit();
        }
        taken
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

/// Whether a content type is that of a batch. Media types are case-insensitive and may have parameters (RFC 9110, 8.3.1).
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
        // An empty line is an empty binary message. Decoding that message fails later.
        assert_eq!(batch("[1]\n"), Ok(vec![text("[1]"), Incoming::Binary(Bytes::new())]));
        assert_eq!(batch("{\"topic\":\"t\"}"), Err(Unreadable::Garbage));
        assert_eq!(batch(&format!("[{}]", "1".repeat(100))), Err(Unreadable::TooLarge));
        assert_eq!(batch(&"[1]\n".repeat(150)).map(|frames| frames.len()), Ok(LINES_MAX));
    }

    #[test]
    fn a_media_type_is_case_insensitive_and_may_have_parameters() {
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
