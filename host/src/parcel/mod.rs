//! Parcels: the state of a host's memory, in the form in which it is handed over to another host.
//!
//! A hand-over is a sequence of [`Record`]s. A topic is a [`TopicRecord`], followed by those of its parts that may be large:
//! its entries and the broadcasts of its history. The members' sockets come before the topics. The last record is
//! [`Record::End`], with the number of those before it.
//!
//! Each record is framed by its length and a checksum, and has a version of its own (see `frame`). So a reader knows
//! whether it has got everything, and whether it can read it. The format says nothing about how records are sent.

mod codec;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod records;
#[cfg(test)]
mod tests;

pub use codec::Malformed;
pub(crate) use codec::{Reader, Writer};
pub use frame::{FRAME_BYTES, Frame, FrameError, RECORD_BYTES_MAX, VERSION};
pub use records::{
    BroadcastRecord, EntryRecord, HistoryRecord, MemberRecord, PART_BYTES, PayloadRecord, Record, RoomRecord,
    SeatRecord, SocketRecord, StateRecord, TickRecord, TopicRecord,
};
