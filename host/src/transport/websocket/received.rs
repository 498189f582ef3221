//! What was read of a connection and not handled yet.

/// Bytes, of which the first have been handled. Those aren't moved away each time: that would cost as much for each of many small
/// messages as all of the others are long.
#[derive(Debug, Default)]
pub(super) struct Received {
    bytes: Vec<u8>,
    /// How many have been handled.
    handled: usize,
}

impl Received {
    /// Bytes that nobody has looked at.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, handled: 0 }
    }

    /// Whether there is nothing to be handled.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is to be handled.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.handled..]
    }

    /// All but so many of the last were handled. An idle connection keeps no room.
    pub(super) fn leave(&mut self, left: usize) {
        match left {
            0 => *self = Self::default(),
            left => self.handled = self.bytes.len().saturating_sub(left),
        }
    }

    /// More has come. What was handled goes now, once for all that is read at once.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.handled));
        self.bytes.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_handled_next_and_what_comes_stands_behind_it() {
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
