//! What a flush consists of.
//!
//! ```text
//! flush     version u16 · kind u8 · epoch u64 · incarnation [16] · content · trailer [16] if the cluster has a secret
//! batch     kind 1      · lane · number u64 · messages
//! repeat    kind 2      · lane · number u64 of the first · (length u32 · messages)…
//! heartbeat kind 3      · (lane · oldest u64 · next u64)…
//! nack      kind 4      · whom u64 · lane · (from u64 · to u64)…
//! nodes     kind 5
//! lane      0, or 1 · epoch u64
//! messages  (length u32 · bytes)…
//! ```
//!
//! Numbers are big-endian. Whoever can write to the bus can write anything here, so all of it is bounded and checked, and nothing of it
//! is believed: an epoch is looked up in the table of nodes. All that follows the version may change with it.

mod content;
mod error;
mod fuzz;
mod messages;
mod reader;
mod seal;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};

pub use content::{Batch, Content, Head, Repeat};
pub use error::WireError;
pub use fuzz::fuzz_wire;
pub use messages::{Messages, MessagesBuilder};
pub use seal::Seal;

use crate::node::{Epoch, Incarnation, NodeId, Speaks};
use reader::Reader;

/// The most bytes of one message. A cluster can be set to less.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// The most bytes of a flush: one message of the greatest length, with what is around it, or less than that in several.
pub const FLUSH_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 1_024;

/// The most messages of a batch. Without a bound, a batch of empty messages would take many times its size in memory.
pub const MESSAGES_MAX: usize = 16_384;

/// The most lanes in a heartbeat. So also the most living nodes to which one node can send.
pub const HEADS_MAX: usize = 1_024;

/// The most ranges in a nack. Other gaps are asked for later.
pub const RANGES_MAX: usize = 32;

/// The most batches of a repeat. Without a bound, a repeat of batches without messages would take many times its size in memory.
pub const BATCHES_MAX: usize = 4_096;

const HEADER_BYTES: usize = 2 + 1 + 8 + 16;

/// What a node sends at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flush {
    /// The version of the protocol.
    pub version: u16,
    /// Who sent it.
    pub from: NodeId,
    /// What it contains.
    pub content: Content,
}

impl Flush {
    /// Writes the flush, with a trailer if the cluster has a secret.
    #[must_use]
    pub fn encode(&self, seal: &Seal) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + self.content.bytes() + seal::TRAILER_BYTES);
        bytes.put_u16(self.version);
        bytes.put_u8(self.content.kind());
        bytes.put_u64(self.from.epoch.0);
        bytes.put_slice(&self.from.incarnation.0);
        self.content.write(&mut bytes);
        seal.close(bytes)
    }

    /// Reads a flush. Nothing of it is copied: each message is a slice of it.
    ///
    /// # Errors
    ///
    /// If it isn't a flush, if its version isn't understood, or if its trailer wasn't made with the cluster's secret.
    pub fn decode(bytes: Bytes, seal: &Seal, speaks: Speaks) -> Result<Self, WireError> {
        if bytes.len() > FLUSH_BYTES_MAX {
            return Err(WireError::Long);
        }
        let version = Reader::new(bytes.clone()).u16()?;
        if !(speaks.from..=speaks.to).contains(&version) {
            return Err(WireError::Version(version));
        }
        let mut reader = Reader::new(seal.open(bytes)?);
        let _version = reader.u16()?;
        let kind = reader.u8()?;
        let epoch = Epoch(reader.u64()?);
        let incarnation = Incarnation(reader.array()?);
        let content = Content::read(kind, reader)?;
        Ok(Self { version, from: NodeId { epoch, incarnation }, content })
    }
}
