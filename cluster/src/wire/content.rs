//! What a flush contains.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::messages::Messages;
use super::reader::Reader;
use super::{BATCHES_MAX, HEADS_MAX, RANGES_MAX, WireError};
use crate::bus::Lane;
use crate::node::Epoch;

/// What a flush contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// New messages.
    Batch(Batch),
    /// Batches that were sent before.
    Repeat(Repeat),
    /// What the sender has sent to each lane, and can still repeat. Lanes to which it has sent nothing are missing.
    Heartbeat(Vec<Head>),
    /// Asks a node for batches that it has sent.
    Nack {
        /// Which node is asked.
        whom: Epoch,
        /// The lane to which it has sent them.
        lane: Lane,
        /// Their numbers.
        ranges: Vec<Range<u64>>,
    },
    /// The table of nodes has changed. Only a hint.
    NodesChanged,
}

/// Messages with their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who gets them.
    pub lane: Lane,
    /// The number of the batch: the first of a lane has 1, each later one a number greater by one.
    pub number: u64,
    /// The messages. None if the batch couldn't be sent.
    pub messages: Messages,
}

/// Batches with consecutive numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Who gets them.
    pub lane: Lane,
    /// The number of the first.
    pub first: u64,
    /// Their messages. At least one batch.
    pub batches: Vec<Messages>,
}

/// What a sender says of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The lane.
    pub lane: Lane,
    /// The number of the oldest batch that can be repeated. It is `next` if none can.
    pub oldest: u64,
    /// The number that the next batch will have.
    pub next: u64,
}

const BATCH: u8 = 1;
const REPEAT: u8 = 2;
const HEARTBEAT: u8 = 3;
const NACK: u8 = 4;
const NODES_CHANGED: u8 = 5;

/// The most bytes of a lane.
const LANE_BYTES: usize = 9;

impl Content {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Batch(_) => BATCH,
            Self::Repeat(_) => REPEAT,
            Self::Heartbeat(_) => HEARTBEAT,
            Self::Nack { .. } => NACK,
            Self::NodesChanged => NODES_CHANGED,
        }
    }

    /// At least as many bytes as it has when it is written.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Batch(batch) => LANE_BYTES + 8 + batch.messages.len(),
            Self::Repeat(repeat) => {
                LANE_BYTES + 8 + repeat.batches.iter().map(|messages| 4 + messages.len()).sum::<usize>()
            }
            Self::Heartbeat(heads) => heads.len() * (LANE_BYTES + 16),
            Self::Nack { ranges, .. } => 8 + LANE_BYTES + ranges.len() * 16,
            Self::NodesChanged => 0,
        }
    }

    pub(super) fn write(&self, bytes: &mut BytesMut) {
        match self {
            Self::Batch(batch) => {
                write_lane(batch.lane, bytes);
                bytes.put_u64(batch.number);
                bytes.put_slice(batch.messages.bytes());
            }
            Self::Repeat(repeat) => {
                write_lane(repeat.lane, bytes);
                bytes.put_u64(repeat.first);
                for messages in &repeat.batches {
                    bytes.put_u32(u32::try_from(messages.len()).unwrap_or(u32::MAX));
                    bytes.put_slice(messages.bytes());
                }
            }
            Self::Heartbeat(heads) => {
                for head in heads {
                    write_lane(head.lane, bytes);
                    bytes.put_u64(head.oldest);
                    bytes.put_u64(head.next);
                }
            }
            Self::Nack { whom, lane, ranges } => {
                bytes.put_u64(whom.0);
                write_lane(*lane, bytes);
                for range in ranges {
                    bytes.put_u64(range.start);
                    bytes.put_u64(range.end);
                }
            }
            Self::NodesChanged => {}
        }
    }

    pub(super) fn read(kind: u8, mut reader: Reader) -> Result<Self, WireError> {
        match kind {
            BATCH => {
                let (lane, number) = (read_lane(&mut reader)?, read_number(&mut reader)?);
                Ok(Self::Batch(Batch { lane, number, messages: Messages::read(reader.rest())? }))
            }
            REPEAT => {
                let (lane, first) = (read_lane(&mut reader)?, read_number(&mut reader)?);
                let batches = read_all(reader, BATCHES_MAX, |reader| Messages::read(reader.counted()?))?;
                // The last number must have a next one.
                first.checked_add(batches.len() as u64).ok_or(WireError::Number)?;
                if batches.is_empty() {
                    return Err(WireError::Count);
                }
                Ok(Self::Repeat(Repeat { lane, first, batches }))
            }
            HEARTBEAT => read_all(reader, HEADS_MAX, read_head).map(Self::Heartbeat),
            NACK => {
                let (whom, lane) = (Epoch(reader.u64()?), read_lane(&mut reader)?);
                let ranges = read_all(reader, RANGES_MAX, read_range)?;
                if ranges.is_empty() { Err(WireError::Count) } else { Ok(Self::Nack { whom, lane, ranges }) }
            }
            NODES_CHANGED if reader.is_empty() => Ok(Self::NodesChanged),
            NODES_CHANGED => Err(WireError::Rest),
            _ => Err(WireError::Kind(kind)),
        }
    }
}

/// Reads parts until the end.
fn read_all<T>(
    mut reader: Reader,
    count_max: usize,
    read: impl Fn(&mut Reader) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let mut parts = Vec::new();
    while !reader.is_empty() {
        if parts.len() == count_max {
            return Err(WireError::Count);
        }
        parts.push(read(&mut reader)?);
    }
    Ok(parts)
}

fn write_lane(lane: Lane, bytes: &mut BytesMut) {
    match lane {
        Lane::All => bytes.put_u8(0),
        Lane::Node(epoch) => {
            bytes.put_u8(1);
            bytes.put_u64(epoch.0);
        }
    }
}

fn read_lane(reader: &mut Reader) -> Result<Lane, WireError> {
    match reader.u8()? {
        0 => Ok(Lane::All),
        1 => Ok(Lane::Node(Epoch(reader.u64()?))),
        kind => Err(WireError::Lane(kind)),
    }
}

/// Zero isn't a number, and the greatest one has none after it.
fn read_number(reader: &mut Reader) -> Result<u64, WireError> {
    match reader.u64()? {
        0 | u64::MAX => Err(WireError::Number),
        number => Ok(number),
    }
}

fn read_range(reader: &mut Reader) -> Result<Range<u64>, WireError> {
    let range = read_number(reader)?..read_number(reader)?;
    if range.is_empty() { Err(WireError::Number) } else { Ok(range) }
}

fn read_head(reader: &mut Reader) -> Result<Head, WireError> {
    let head = Head { lane: read_lane(reader)?, oldest: read_number(reader)?, next: read_number(reader)? };
    if head.oldest > head.next { Err(WireError::Number) } else { Ok(head) }
}
