//! Messages of Phoenix Channels, V2 in JSON: `[join_ref,ref,topic,event,payload]`. Payloads are not parsed.

use memchr::{memchr, memmem::find};

/// A message's parts. Strings are without their quotes, and null is empty.
#[derive(Debug, PartialEq)]
pub(crate) struct Message<'a> {
    pub(crate) join_reference: &'a [u8],
    pub(crate) reference: &'a [u8],
    pub(crate) topic: &'a [u8],
    pub(crate) event: &'a [u8],
    pub(crate) payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message. Escapes are not supported, because no name here contains a quote or a backslash.
    pub(crate) fn read(text: &'a [u8]) -> Option<Self> {
        let mut rest = text.strip_prefix(b"[")?.strip_suffix(b"]")?;
        Some(Self {
            join_reference: word(&mut rest)?,
            reference: word(&mut rest)?,
            topic: word(&mut rest)?,
            event: word(&mut rest)?,
            payload: rest,
        })
    }

    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.push(b'[');
        for word in [self.join_reference, self.reference, self.topic, self.event] {
            match word {
                b"" => into.extend_from_slice(b"null,"),
                word => {
                    into.push(b'"');
                    into.extend_from_slice(word);
                    into.extend_from_slice(b"\",");
                }
            }
        }
        into.extend_from_slice(self.payload);
        into.push(b']');
    }
}

/// Reads the next part of a message and the comma after it.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if let Some(after) = rest.strip_prefix(b"null,") {
        *rest = after;
        return Some(b"");
    }
    let inside = rest.strip_prefix(b"\"")?;
    let (word, after) = inside.split_at(memchr(b'"', inside)?);
    *rest = after.strip_prefix(b"\",")?;
    Some(word)
}

/// Whether a reply's payload has the status `ok`.
pub(crate) fn is_ok(payload: &[u8]) -> bool {
    payload.starts_with(b"{\"status\":\"ok\"") || find(payload, b"\"status\":\"ok\"").is_some()
}

/// Reads a decimal number.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Message<'_> {
        Message::read(text.as_bytes()).expect("a message")
    }

    #[test]
    fn messages_are_read_and_written() {
        for text in [
            r#"["1","7","bench:0","echo",{"p":"[\"1\",]"}]"#,
            r#"[null,null,"bench:0","shout",{"t":12,"p":"x"}]"#,
            r#"[null,"3","phoenix","heartbeat",{}]"#,
        ] {
            let message = read(text);
            let mut out = Vec::new();
            message.write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
        let message = read(r#"["1",null,"a:b","x",[1,"2"]]"#);
        let parts = (message.join_reference, message.reference, message.topic, message.event, message.payload);
        assert_eq!(parts, (&b"1"[..], &b""[..], &b"a:b"[..], &b"x"[..], &b"[1,\"2\"]"[..]));
    }

    #[test]
    fn invalid_messages_are_refused() {
        for text in ["", "[]", "{}", r#"["1","2","a:b"]"#, r#"["1","2","a:b","x"]"#, r#"["1","2,"a","x",{}]"#] {
            assert_eq!(Message::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_status_of_a_reply_is_read() {
        assert!(is_ok(br#"{"status":"ok","response":{}}"#));
        assert!(is_ok(br#"{"response":{},"status":"ok"}"#));
        assert!(!is_ok(br#"{"status":"error","response":{"reason":"ok"}}"#));
        assert_eq!((number(b"12"), number(b""), number(b"1x")), (Some(12), None, None));
    }
}
