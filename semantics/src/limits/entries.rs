//! The limits of entries.

use super::{keys, limit_key};
use crate::Fault;

/// The limits of the entries of a topic, and of the calls that use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryLimits {
    /// Bytes of a value. Fault: oversize. Default 1 MiB.
    pub value_bytes: usize,
    /// Entries that one call writes or deletes. Upgrades don't count. Fault: oversize. Default 4,096.
    pub writes_per_call: usize,
    /// Bytes of the keys and values that one call writes, and of the keys that it deletes. Fault: oversize. Default
    /// 4 MiB.
    pub write_bytes_per_call: usize,
    /// Bytes of all keys and values of a topic. Fault: oversize. Default 1 GiB.
    pub bytes_per_topic: u64,
    /// Bytes of the entries of all memory rooms, with [`ENTRY_WEIGHT`] for each entry. Fault: oversize. Default 256 MiB.
    pub memory_bytes: u64,
    /// Bytes of the entries of a topic that are kept for a rollback, with [`ENTRY_WEIGHT`] for each. Past it: no rollback of the
    /// topic. Default 8 MiB.
    pub rollback_bytes: u64,
    /// Bytes of a topic's published entries, as JSON. Fault: oversize. Default 2 MiB.
    pub published_bytes: u64,
    /// Bytes of the old values that are kept for members of a topic that have missed changes of published entries, with 64
    /// bytes for each. Past it: such members get the whole state. Default 1 MiB.
    pub published_missed_bytes: usize,
    /// Prefixes of published entries that a member follows. Fault: oversize. Default 64.
    pub follows_per_member: usize,
}

/// The most bytes of a key.
pub const ENTRY_KEY_BYTES_MAX: usize = 255;

/// The most entries that a scan or a get-many returns, and that a delete-range deletes.
pub const ENTRIES_AT_ONCE_MAX: usize = 1000;

/// The most bytes of the entries that a scan returns, and of the values that a get-many returns. A single entry of a scan
/// may be larger.
pub const ENTRY_BYTES_AT_ONCE_MAX: usize = 1 << 20;

/// The bytes that an entry in memory is counted with, in addition to its key and value: roughly, its part of the table and
/// of the allocator's overhead.
pub const ENTRY_WEIGHT: usize = 64;

impl Default for EntryLimits {
    fn default() -> Self {
        Self {
            value_bytes: 1 << 20,
            writes_per_call: 4096,
            write_bytes_per_call: 4 << 20,
            bytes_per_topic: 1 << 30,
            memory_bytes: 256 << 20,
            rollback_bytes: 8 << 20,
            published_bytes: 2 << 20,
            published_missed_bytes: 1 << 20,
            follows_per_member: 64,
        }
    }
}

impl EntryLimits {
    /// Checks the value of an entry.
    ///
    /// # Errors
    /// Fault: oversize.
    #[inline]
    pub fn check_value(&self, bytes: usize) -> Result<(), Fault> {
        let most = self.value_bytes;
        if bytes > most {
            let key = limit_key(keys::ENTRY_BYTES, most);
            return Err(Fault::oversize(format!("the value of an entry has {bytes} bytes; at most {most}{key}")));
        }
        Ok(())
    }

    /// Checks the number of a call's writes, and their bytes.
    ///
    /// # Errors
    /// Fault: oversize.
    #[inline]
    pub fn check_writes(&self, writes: usize, bytes: usize) -> Result<(), Fault> {
        let most = self.writes_per_call;
        if writes > most {
            let key = limit_key(keys::ENTRY_WRITES_PER_CALL, most);
            return Err(Fault::oversize(format!("a call writes more than {most} entries{key}")));
        }
        let most = self.write_bytes_per_call;
        if bytes > most {
            let key = limit_key(keys::ENTRY_WRITE_BYTES_PER_CALL, most);
            return Err(Fault::oversize(format!("a call writes more than {most} bytes of entries{key}")));
        }
        Ok(())
    }

    /// Checks the bytes of a topic's entries after a write that adds bytes.
    ///
    /// # Errors
    /// Fault: oversize.
    #[inline]
    pub fn check_topic(&self, bytes: u64) -> Result<(), Fault> {
        check_sum("the entries of a topic", bytes, self.bytes_per_topic, keys::ENTRIES_BYTES_PER_TOPIC)
    }

    /// Checks the bytes of a topic's published entries after a write that adds bytes.
    ///
    /// # Errors
    /// Fault: oversize.
    #[inline]
    pub fn check_published(&self, bytes: u64) -> Result<(), Fault> {
        check_sum("the published entries of a topic", bytes, self.published_bytes, keys::PUBLISHED_BYTES)
    }

    /// Checks the bytes of the entries of all memory rooms after a write that adds bytes.
    ///
    /// # Errors
    /// Fault: oversize.
    #[inline]
    pub fn check_memory(&self, bytes: u64) -> Result<(), Fault> {
        check_sum("the entries of all memory rooms", bytes, self.memory_bytes, keys::ENTRIES_MEMORY_BYTES)
    }
}

fn check_sum(what: &str, bytes: u64, most: u64, key: &str) -> Result<(), Fault> {
    if bytes > most {
        let key = limit_key(key, most);
        return Err(Fault::oversize(format!("{what} would have {bytes} bytes; at most {most}{key}")));
    }
    Ok(())
}
