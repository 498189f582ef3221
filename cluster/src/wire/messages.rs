//! The messages of a batch.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::reader::Reader;
use super::{MESSAGE_BYTES_MAX, MESSAGES_MAX, WireError};

/// The bytes that each message has beside its own.
const LENGTH_BYTES: usize = 4;

/// The messages of a batch, as they are in a flush. A batch without messages stands for one that couldn't be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages(Bytes);

/// Puts messages together.
#[derive(Debug, Default)]
pub struct MessagesBuilder {
    bytes: BytesMut,
    count: usize,
}

impl Messages {
    pub(super) fn read(bytes: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes.clone());
        let mut count = 0;
        while !reader.is_empty() {
            if reader.counted()?.len() > MESSAGE_BYTES_MAX {
                return Err(WireError::Long);
            }
            count += 1;
        }
        if count > MESSAGES_MAX { Err(WireError::Count) } else { Ok(Self(bytes)) }
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes of all messages, with their lengths.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same in memory of their own, for messages that are kept. A slice of a larger flush keeps all of that flush in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Iterator for Messages {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let length = self.0.try_get_u32().ok()? as usize;
        // Both ways to make them have checked the lengths.
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }
}

impl MessagesBuilder {
    /// Adds a message unless the messages would then have more than so many bytes, or be too many. The first one always fits.
    #[must_use]
    pub fn push(&mut self, message: &Bytes, bytes_max: usize) -> bool {
        let bytes = self.bytes.len() + LENGTH_BYTES + message.len();
        let Ok(length) = u32::try_from(message.len()) else { return false };
        if self.count > 0 && (bytes > bytes_max || self.count == MESSAGES_MAX) {
            return false;
        }
        self.bytes.reserve(LENGTH_BYTES + message.len());
        self.bytes.put_u32(length);
        self.bytes.put_slice(message);
        self.count += 1;
        true
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Ends the batch.
    #[must_use]
    pub fn build(self) -> Messages {
        Messages(self.bytes.freeze())
    }
}
