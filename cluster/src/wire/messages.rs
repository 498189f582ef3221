//! The messages of a batch.

use bytes::{Buf, BufMut, Bytes, BytesMut};

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
        let mut count = 0_usize;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (message, after) = split(rest).ok_or(WireError::Short)?;
            if message.len() > MESSAGE_BYTES_MAX {
                return Err(WireError::Long);
            }
            count += 1;
            rest = after;
        }
        if count > MESSAGES_MAX { Err(WireError::Count) } else { Ok(Self(bytes)) }
    }

    /// How many messages there are.
    #[must_use]
    pub fn number(&self) -> usize {
        let mut rest = &self.0[..];
        std::iter::from_fn(|| split(rest).map(|(_, after)| rest = after)).count()
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

/// The first message, and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
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
