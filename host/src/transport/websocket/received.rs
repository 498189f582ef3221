//! A buffer for bytes that were read from a connection and aren't handled yet.

/// A buffer whose first bytes are already handled. Handled bytes aren't removed after each turn: with many small messages,
/// that would move all of the remaining bytes each time.
///
/// An idle connection has no bytes, so an empty buffer is only a null pointer.
#[derive(Debug, Default)]
pub(super) struct Received(Option<Box<Buffer>>);

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The number of handled bytes. It is less than the number of bytes.
    handled: usize,
}

impl Received {
    /// Creates a buffer of bytes that aren't handled yet.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self((!bytes.is_empty()).then(|| Box::new(Buffer { bytes, handled: 0 })))
    }

    /// Whether no bytes are left to handle.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the bytes that are left to handle.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |buffer| &buffer.bytes[buffer.handled..])
    }

    /// Records that all but the last `left` bytes are handled. If none are left, the memory is freed.
    pub(super) fn leave(&mut self, left: usize) {
        if left == 0 {
            self.0 = None;
        } else if let Some(buffer) = &mut self.0 {
            buffer.handled = buffer.bytes.len().saturating_sub(left);
        }
    }

    /// Adds bytes that were read. Handled bytes are removed here, so only once for each read.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let buffer = self.0.get_or_insert_default();
        buffer.bytes.drain(..std::mem::take(&mut buffer.handled));
        buffer.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_bytes_are_handled_next_and_new_bytes_come_after_them() {
        let mut received = Received::new(b"abcdef".to_vec());
        received.leave(4);
        assert_eq!(received.bytes(), b"cdef");
        received.leave(1);
        received.extend(b"gh");
        assert_eq!((received.bytes(), received.is_empty()), (&b"fgh"[..], false));
        received.leave(0);
        assert!(received.is_empty() && received.bytes().is_empty());
        received.extend(b"");
        assert!(received.is_empty());
        received.extend(b"i");
        assert_eq!(received.bytes(), b"i");
    }
}
