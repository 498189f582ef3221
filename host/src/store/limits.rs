//! How much the store takes, and what is too much.

use std::fmt;

/// The bytes that a plugin may have in the store unless it is said otherwise: 1 GiB.
pub const QUOTA_BYTES: u64 = 1 << 30;

/// The limits of a store. Those of a plugin's bytes are its owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of a key, or of a topic with a room. Past it: oversize. Default 1,024.
    pub key_bytes: usize,
    /// Bytes of a value. Past it: oversize. Default 1 MiB.
    pub value_bytes: usize,
    /// Bytes of a durable room. Past it: oversize. Default 1 MiB.
    pub room_bytes: usize,
    /// Keys that one call writes; its room isn't counted. Past it: oversize. Default 1,024.
    pub writes_per_call: usize,
    /// Bytes of those keys and their values. Past it: oversize. Default 4 MiB.
    pub write_bytes_per_call: usize,
    /// Rows that one scan gives; the rest is for the next one. Default 1,000.
    pub scan_rows: usize,
    /// Bytes of those rows, but for a single one. Default 1 MiB.
    pub scan_bytes: usize,
    /// Places that a call has read and are told apart. Past it, neighbours count as one, with all that lies between them, so
    /// that the call may run again needlessly. Default 1,024.
    pub reads_per_call: usize,
    /// Bytes of the calls that wait to be committed. Past it: the next ones wait outside. Default 64 MiB.
    pub waiting_bytes: usize,
    /// Bytes that are written with one sync, but for a single call's. Default 8 MiB.
    pub batch_bytes: usize,
    /// Bytes of the keys that are known to have been written lately. A call that is older than they are runs again. Default
    /// 16 MiB.
    pub recent_bytes: usize,
    /// Bytes of the file that are kept in memory. Default 64 MiB.
    pub cache_bytes: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            key_bytes: 1024,
            value_bytes: 1 << 20,
            room_bytes: 1 << 20,
            writes_per_call: 1024,
            write_bytes_per_call: 4 << 20,
            scan_rows: 1000,
            scan_bytes: 1 << 20,
            reads_per_call: 1024,
            waiting_bytes: 64 << 20,
            batch_bytes: 8 << 20,
            recent_bytes: 16 << 20,
            cache_bytes: 64 << 20,
        }
    }
}

/// Something is larger, or more, than it may be. It wasn't taken, and nothing else has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// A key without bytes.
    NoKey,
    /// The bytes of a key.
    Key {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The bytes of a value.
    Value {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The bytes of a durable room, with its version.
    Room {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The keys that a call writes.
    Writes {
        /// How many there may be.
        limit: usize,
    },
    /// The bytes that a call writes.
    WriteBytes {
        /// How many there may be.
        limit: usize,
    },
    /// The bytes of a plugin's name.
    Name {
        /// How many there are.
        bytes: usize,
        /// How many there may be, and one at least.
        limit: usize,
    },
}

impl StoreLimits {
    pub(super) fn check_key(&self, key: &[u8]) -> Result<(), Oversize> {
        match key.len() {
            0 => Err(Oversize::NoKey),
            bytes if bytes > self.key_bytes => Err(Oversize::Key { bytes, limit: self.key_bytes }),
            _ => Ok(()),
        }
    }

    pub(super) fn check_value(&self, value: &[u8]) -> Result<(), Oversize> {
        let (bytes, limit) = (value.len(), self.value_bytes);
        if bytes > limit { Err(Oversize::Value { bytes, limit }) } else { Ok(()) }
    }

    pub(super) fn check_room(&self, room: &[u8]) -> Result<(), Oversize> {
        let (bytes, limit) = (room.len(), self.room_bytes);
        if bytes > limit { Err(Oversize::Room { bytes, limit }) } else { Ok(()) }
    }
}

impl fmt::Display for Oversize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => write!(f, "a key in the store has one byte at least"),
            Self::Key { bytes, limit } => {
                write!(f, "a key in the store has {bytes} bytes; at most {limit} (`limits.store_key_bytes = {limit}`)")
            }
            Self::Value { bytes, limit } => {
                write!(
                    f,
                    "a value in the store has {bytes} bytes; at most {limit} (`limits.store_value_bytes = {limit}`)"
                )
            }
            Self::Room { bytes, limit } => {
                write!(f, "a room in the store has {bytes} bytes; at most {limit} (`limits.room_bytes`)")
            }
            Self::Writes { limit } => {
                write!(
                    f,
                    "a call writes more than {limit} keys of the store (`limits.store_writes_per_call = {limit}`)"
                )
            }
            Self::WriteBytes { limit } => {
                let key = "limits.store_write_bytes_per_call";
                write!(f, "a call writes more than {limit} bytes to the store (`{key} = {limit}`)")
            }
            Self::Name { bytes, limit } => {
                write!(f, "a plugin's name has {bytes} bytes; in the store it has one at least and at most {limit}")
            }
        }
    }
}

impl std::error::Error for Oversize {}
