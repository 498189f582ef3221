//! The trace to which a client belongs: W3C Trace Context.

use std::fmt;

/// The trace of a client, from the `traceparent` of its connect request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    /// The flags, of which the lowest bit says whether the trace is recorded.
    flags: u8,
}

/// The name of the header, and of the connect parameter for browsers, whose WebSockets can't set headers.
pub const TRACEPARENT: &str = "traceparent";

impl Trace {
    /// Reads a `traceparent`, as its standard says: a version, the ids of the trace and of the parent, and flags, in lower case.
    /// A later version may have more at its end. Returns none for anything else: an invalid one is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut hex = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            let is_lower = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            is_lower.then_some(part)
        };
        let (version, id, parent, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let is_known = version != "ff" && (version != "00" || parts.next().is_none());
        let id = u128::from_str_radix(id, 16).ok().filter(|id| *id != 0)?;
        let has_parent = u64::from_str_radix(parent, 16).is_ok_and(|parent| parent != 0);
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (is_known && has_parent).then_some(Self { id, flags })
    }

    /// Returns the `traceparent` of a request of the host that has this id, which must not be 0.
    #[must_use]
    pub fn parent_of(self, span: u64) -> String {
        // Of the flags, only those of version 00 are known.
        format!("00-{self}-{:016x}-{:02x}", span.max(1), self.flags & 1)
    }
}

/// The id of the trace, for the log.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_and_passed_on() {
        let trace =
            Trace::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").expect("the standard's example");
        assert_eq!(trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.parent_of(0x1234), "00-0af7651916cd43dd8448eb211c80319c-0000000000001234-01");
        let later =
            Trace::parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe-more").expect("a later version");
        assert_eq!(later.parent_of(0), "00-0af7651916cd43dd8448eb211c80319c-0000000000000001-00");
    }

    #[test]
    fn anything_else_is_ignored() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(Trace::parse(bad), None, "{bad}");
        }
    }
}
