//! The limits of the store, and the errors for exceeding them.

use std::fmt;

use super::{DeliveryLimits, JobLimits, keys, limit_key};

/// The default quota of a plugin in bytes: 1 GiB.
pub const QUOTA_BYTES: u64 = 1 << 30;

/// The limits of a store. A plugin's quota isn't here, but in its `Owner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of a key, or of a topic with a room. A longer one is refused as oversize. Default 1,024.
    pub key_bytes: usize,
    /// Bytes of a value. A longer one is refused as oversize. Default 1 MiB.
    pub value_bytes: usize,
    /// Bytes of a durable room. A longer one is refused as oversize. Default 1 MiB.
    pub room_bytes: usize,
    /// Bytes of the value of an entry, for the longest line of an import. Default 1 MiB.
    pub entry_bytes: usize,
    /// Keys that one call writes, without its room. More are refused as oversize. Default 1,024.
    pub writes_per_call: usize,
    /// Bytes of those keys and their values. More are refused as oversize. Default 4 MiB.
    pub write_bytes_per_call: usize,
    /// Rows that one scan returns. The next scan continues after them. Default 1,000.
    pub scan_rows: usize,
    /// Bytes of those rows. A single row may be larger. Default 1 MiB.
    pub scan_bytes: usize,
    /// Spans of keys that are recorded as a call's reads. If there are more, neighbours are merged, together with the
    /// keys between them. So the call may be retried without need. Default 1,024.
    pub reads_per_call: usize,
    /// Bytes of the calls in the committer's queue. If the queue is full, further calls wait for room. Default 64 MiB.
    pub waiting_bytes: usize,
    /// Bytes of the calls that are written with one sync. The last of them may exceed it. Default 512 KiB.
    pub batch_bytes: usize,
    /// Bytes of the keys that are recorded as written lately. A call that began before the oldest of them is retried.
    /// Default 16 MiB.
    pub recent_bytes: usize,
    /// Bytes of the file that are cached in memory. Default 64 MiB.
    pub cache_bytes: usize,
    /// The limits of a plugin's jobs.
    pub jobs: JobLimits,
    /// The limits of a plugin's deliveries.
    pub deliveries: DeliveryLimits,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            key_bytes: 1024,
            value_bytes: 1 << 20,
            room_bytes: 1 << 20,
            entry_bytes: 1 << 20,
            writes_per_call: 1024,
            write_bytes_per_call: 4 << 20,
            scan_rows: 1000,
            scan_bytes: 1 << 20,
            reads_per_call: 1024,
            waiting_bytes: 64 << 20,
            batch_bytes: 512 << 10,
            recent_bytes: 16 << 20,
            cache_bytes: 64 << 20,
            jobs: JobLimits::default(),
            deliveries: DeliveryLimits::default(),
        }
    }
}

/// A limit was exceeded. The write or read was refused, and nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// A key is empty.
    NoKey,
    /// A key is too long.
    Key {
        /// Its bytes.
        bytes: usize,
        /// The most bytes of a key.
        limit: usize,
    },
    /// The key of an entry is too long.
    EntryKey {
        /// Its bytes.
        bytes: usize,
        /// The most bytes of the key of an entry.
        limit: usize,
    },
    /// A value is too long.
    Value {
        /// Its bytes.
        bytes: usize,
        /// The most bytes of a value.
        limit: usize,
    },
    /// A durable room is too long.
    Room {
        /// Its bytes, with those of its version.
        bytes: usize,
        /// The most bytes of a durable room.
        limit: usize,
    },
    /// A call writes too many keys.
    Writes {
        /// The most keys.
        limit: usize,
    },
    /// A call writes too many bytes.
    WriteBytes {
        /// The most bytes.
        limit: usize,
    },
    /// A plugin's name is empty or too long.
    Name {
        /// Its bytes.
        bytes: usize,
        /// The most bytes of a name.
        limit: usize,
    },
}

impl StoreLimits {
    /// Checks a key.
    ///
    /// # Errors
    /// If it is empty or too long.
    pub fn check_key(&self, key: &[u8]) -> Result<(), Oversize> {
        match key.len() {
            0 => Err(Oversize::NoKey),
            bytes if bytes > self.key_bytes => Err(Oversize::Key { bytes, limit: self.key_bytes }),
            _ => Ok(()),
        }
    }

    /// Checks a value.
    ///
    /// # Errors
    /// If it is too long.
    pub fn check_value(&self, value: &[u8]) -> Result<(), Oversize> {
        let (bytes, limit) = (value.len(), self.value_bytes);
        if bytes > limit { Err(Oversize::Value { bytes, limit }) } else { Ok(()) }
    }

    /// Checks the bytes of a durable room.
    ///
    /// # Errors
    /// If it is too long.
    pub fn check_room(&self, room: &[u8]) -> Result<(), Oversize> {
        let (bytes, limit) = (room.len(), self.room_bytes);
        if bytes > limit { Err(Oversize::Room { bytes, limit }) } else { Ok(()) }
    }
}

impl fmt::Display for Oversize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => write!(f, "a key in the store has at least one byte"),
            Self::Key { bytes, limit } => {
                let key = limit_key(keys::STORE_KEY_BYTES, limit);
                write!(f, "a key in the store has {bytes} bytes; at most {limit}{key}")
            }
            Self::EntryKey { bytes, limit } => write!(f, "the key of an entry has {bytes} bytes; at most {limit}"),
            Self::Value { bytes, limit } => {
                let key = limit_key(keys::STORE_VALUE_BYTES, limit);
                write!(f, "a value in the store has {bytes} bytes; at most {limit}{key}")
            }
            Self::Room { bytes, limit } => {
                write!(f, "a room in the store has {bytes} bytes; at most {limit} (`limits.{}`)", keys::ROOM_BYTES)
            }
            Self::Writes { limit } => {
                let key = limit_key(keys::STORE_WRITES_PER_CALL, limit);
                write!(f, "a call writes more than {limit} keys of the store{key}")
            }
            Self::WriteBytes { limit } => {
                let key = limit_key(keys::STORE_WRITE_BYTES_PER_CALL, limit);
                write!(f, "a call writes more than {limit} bytes to the store{key}")
            }
            Self::Name { bytes, limit } => {
                write!(f, "a plugin's name has {bytes} bytes; in the store, it has at least one and at most {limit}")
            }
        }
    }
}

impl std::error::Error for Oversize {}
