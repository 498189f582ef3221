//! The frame of a record:
//!
//! ```text
//! length    4 bytes, of what follows the checksum
//! checksum  4 bytes, CRC-32 of what follows
//! version   1 byte
//! record    its kind in 1 byte, and its values
//! ```

use std::fmt;

use bytes::{Buf, Bytes};

use super::{Malformed, Record};

/// The version of all records that this host writes, and the only one that it reads. A host that learns another one writes
/// the highest that its peer knows.
pub const VERSION: u8 = 1;

/// The most bytes of a record. The largest one is a topic with its state, without its entries.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

/// The bytes of a frame before the version.
pub const FRAME_BYTES: usize = 8;

/// A record with its frame, to be sent.
pub struct Frame {
    /// The length and the checksum.
    pub head: [u8; FRAME_BYTES],
    /// The version and the record.
    pub body: Bytes,
}

/// Why a frame can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It is longer than any record may be.
    TooLong(usize),
    /// Its bytes aren't those that were sent.
    Damaged,
    /// It has this version, which this host doesn't know.
    Version(u8),
    /// The record isn't what its kind and version promise.
    Malformed,
}

impl Frame {
    /// Frames a record.
    ///
    /// # Errors
    /// If it is too long.
    pub fn of(record: &Record) -> Result<Self, FrameError> {
        let body = record.encode(VERSION);
        if body.len() > RECORD_BYTES_MAX {
            return Err(FrameError::TooLong(body.len()));
        }
        let mut head = [0; FRAME_BYTES];
        let length = u32::try_from(body.len()).map_err(|_| FrameError::TooLong(body.len()))?;
        head[..4].copy_from_slice(&length.to_be_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(&body).to_be_bytes());
        Ok(Self { head, body })
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn length(&self) -> usize {
        FRAME_BYTES + self.body.len()
    }

    /// Reads the head of a frame. Returns the length of the body.
    ///
    /// # Errors
    /// If the body is too long.
    pub fn body_length(head: [u8; FRAME_BYTES]) -> Result<usize, FrameError> {
        let length = (&head[..4]).get_u32() as usize;
        if length > RECORD_BYTES_MAX { Err(FrameError::TooLong(length)) } else { Ok(length) }
    }

    /// Reads the record of a frame.
    ///
    /// # Errors
    /// If it is damaged, malformed, or of another version.
    pub fn record(head: [u8; FRAME_BYTES], mut body: Bytes) -> Result<Record, FrameError> {
        if (&head[4..]).get_u32() != crc32fast::hash(&body) {
            return Err(FrameError::Damaged);
        }
        match body.try_get_u8() {
            Ok(VERSION) => Record::decode(body).map_err(|Malformed| FrameError::Malformed),
            Ok(other) => Err(FrameError::Version(other)),
            Err(_) => Err(FrameError::Malformed),
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(f, "a record has {bytes} bytes; at most {RECORD_BYTES_MAX}"),
            Self::Damaged => f.write_str("the checksum of a record is wrong"),
            Self::Version(version) => write!(f, "a record has version {version}; this host knows {VERSION}"),
            Self::Malformed => Malformed.fmt(f),
        }
    }
}

impl std::error::Error for FrameError {}
