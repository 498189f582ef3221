//! Messages between hosts as bytes.
//!
//! A message begins with the version and the kind. Bytes from other nodes are read as hostile input: names and lists are bounded,
//! payloads are checked to be JSON, and nothing may be left. A message is at most as large as the link allows.

use std::fmt;

use bytes::Bytes;

use super::decoding::read_body;
use super::encoding::write_body;
use super::messages::NodeMessage;
use crate::parcel::{Malformed, Reader, Writer};

/// The version of the messages. It is the version of the protocol between nodes that the table of nodes compares.
pub const VERSION: u8 = 1;

/// Why a message isn't read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodecError {
    /// It has another version.
    Version(u8),
    /// This host doesn't know its kind.
    Kind(u8),
    /// It isn't what its kind promises.
    Malformed,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "it has version {version}, and this host reads version {VERSION}"),
            Self::Kind(kind) => write!(f, "this host knows no message of kind {kind}"),
            Self::Malformed => f.write_str("it is malformed"),
        }
    }
}

impl std::error::Error for CodecError {}

impl From<Malformed> for CodecError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// Writes a message.
#[must_use]
pub(super) fn encode(message: &NodeMessage) -> Bytes {
    let mut writer = Writer::default();
    writer.u8(VERSION);
    writer.u64(message.id_time);
    write_body(&mut writer, &message.body);
    writer.finish()
}

/// Reads a message. Its payload is a slice of the bytes.
///
/// # Errors
/// If it has another version, is of an unknown kind, or is malformed.
pub(super) fn decode(message: Bytes) -> Result<NodeMessage, CodecError> {
    let mut reader = Reader::new(message);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let id_time = reader.u64()?;
    let body = read_body(&mut reader)?;
    reader.finish()?;
    Ok(NodeMessage { id_time, body })
}
