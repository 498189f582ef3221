//! Topic messages with an idempotency key, which take effect once.

use bytes::Bytes;
use bytestring::ByteString;

use crate::contract::Reply;
use crate::protocol::Payload;

/// A request whose message takes effect once, however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentRequest {
    /// The key that the caller chose.
    pub key: Box<str>,
    /// The place of the message in the request, if the request has several.
    pub part: u16,
    /// The digest of the whole request. The same key with another request is a mistake.
    pub digest: [u8; 32],
    /// How long the answer is kept, in milliseconds.
    pub lifetime_ms: u64,
}

/// What was stored when the message of a request was handled.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::channel) enum StoredAnswer {
    /// This request was handled, with this reply.
    Same(Option<Reply>),
    /// Another request with the same key was handled.
    Other,
    /// The row is damaged.
    Damaged,
}

/// The version of the stored form.
const VERSION: u8 = 1;

const NO_REPLY: u8 = 0;
const JSON: u8 = 1;
const BINARY: u8 = 2;

impl IdempotentRequest {
    /// Its name in the store. A key has no control characters, so no two requests have the same name.
    pub(in crate::channel) fn name(&self) -> Vec<u8> {
        [self.key.as_bytes(), &[0], &self.part.to_be_bytes()].concat()
    }

    /// The stored form of a reply to its message.
    pub(in crate::channel) fn encode(&self, reply: Option<&Reply>) -> Vec<u8> {
        let head = [&[VERSION], &self.digest[..]].concat();
        let Some(Reply { status, payload }) = reply else { return [&head[..], &[NO_REPLY]].concat() };
        let (kind, bytes) = match payload {
            Payload::Json(text) => (JSON, &text.as_bytes()[..]),
            Payload::Binary(bytes) => (BINARY, &bytes[..]),
        };
        // A status has at most 255 bytes.
        let length = u8::try_from(status.len()).unwrap_or(u8::MAX);
        [&head[..], &[kind, length], status.as_bytes(), bytes].concat()
    }

    /// Reads the stored form.
    pub(in crate::channel) fn decode(&self, stored: &Bytes) -> StoredAnswer {
        match split(stored) {
            Some((digest, _)) if *digest != self.digest => StoredAnswer::Other,
            Some((_, reply)) => StoredAnswer::Same(reply),
            None => StoredAnswer::Damaged,
        }
    }
}

/// The digest and the reply of a stored form.
fn split(stored: &Bytes) -> Option<(&[u8], Option<Reply>)> {
    let digest = stored.strip_prefix(&[VERSION])?.get(..32)?;
    let reply = stored.slice(33..);
    let kind = *reply.first()?;
    if kind == NO_REPLY {
        return Some((digest, None));
    }
    let end = 2 + usize::from(*reply.get(1)?);
    let status = ByteString::try_from(Bytes::copy_from_slice(reply.get(2..end)?)).ok()?;
    let rest = reply.slice(end..);
    let payload = match kind {
        JSON => Payload::Json(ByteString::try_from(rest).ok()?),
        BINARY => Payload::Binary(rest),
        _ => return None,
    };
    Some((digest, Some(Reply { status, payload })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(digest: u8) -> IdempotentRequest {
        IdempotentRequest { key: "key".into(), part: 3, digest: [digest; 32], lifetime_ms: 1 }
    }

    #[test]
    fn an_answer_comes_back_for_the_same_request_only() {
        let replies = [
            None,
            Some(Reply { status: "ok".into(), payload: Payload::Json("[1]".into()) }),
            Some(Reply { status: "é".repeat(127).into(), payload: Payload::Binary(Bytes::from_static(&[0, 255])) }),
            Some(Reply { status: "".into(), payload: Payload::Json("null".into()) }),
        ];
        for reply in replies {
            let stored = Bytes::from(request(1).encode(reply.as_ref()));
            assert_eq!(request(1).decode(&stored), StoredAnswer::Same(reply));
            assert_eq!(request(2).decode(&stored), StoredAnswer::Other);
            for length in 0..34 {
                assert_eq!(request(1).decode(&stored.slice(..length)), StoredAnswer::Damaged);
            }
        }
        assert_eq!(request(1).name(), b"key\0\0\x03");
    }
}
