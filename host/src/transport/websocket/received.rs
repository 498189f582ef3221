//! A buffer for bytes that were read from a connection and aren't handled yet.

/// A buffer whose first bytes are already handled. Handled bytes aren't removed after each turn: with many small messages,
/// that would move all of the remaining bytes each time.
#[derive(Debug, Default)]
pub(super) struct Received {
    bytes: Vec<u8>,
    /// The number of handled bytes.
    handled: usize,
}

impl Received {
    /// Creates a buffer of bytes that aren't handled yet.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, handled: 0 }
    }

    /// Whether no bytes are left to handle.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes that are left to handle.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.handled..]
    }

    /// Records that all but the last `left` bytes are handled. If none are left, the memory is freed, so that an idle
    /// connection has no buffer.
    pub(super) fn leave(&mut self, left: usize) {
        match left {
            0 => *self = Self::default(),
            left => self.handled = self.bytes.len().saturating_sub(left),
        }
    }

    /// Adds bytes that were read. Handled bytes are removed here, so only once for each read.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.handled));
        self.bytes.extend_from_slice(bytes);
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
        assert!(received.is_empty() && received.bytes().is_empty() && received.bytes.capacity() == 0);
        received.extend(b"");
        assert!(received.is_empty());
        received.extend(b"i");
        assert_eq!(received.bytes(), b"i");
    }
}
