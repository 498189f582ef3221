//! The hand-over of a host's work to another process on the same machine and data directory.
//!
//! The running host, the *predecessor*, listens on a Unix socket in its data directory. A process that is to replace it, the
//! *successor*, connects, gets the listening sockets, compiles the plugins, and says that it is prepared. Then the
//! predecessor ends its turns, puts its memory down as [parcels](crate::parcel), and gives up the store. The successor
//! opens the store, adopts the parcels, and serves. Only then does the predecessor close its connections.
//!
//! Until the successor says that it serves, the predecessor can take everything back: it keeps its memory and its
//! connections. The lock of the data directory decides in the end: who has it owns the data.
//!
//! [`Predecessor`] and [`Successor`] are the protocol as pure state machines. [`Connection`] carries their messages.

mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod messages;
mod predecessor;
mod successor;
#[cfg(test)]
mod tests;

pub(crate) use connection::kill;
pub use connection::{Connection, Incoming, Outgoing, SOCKET, Socket};
pub use messages::{Answer, MESSAGE_BYTES_MAX, PROTOCOL, Request};
pub use predecessor::{Action as PredecessorAction, Event as PredecessorEvent, Predecessor, Times};
pub use successor::{Action as SuccessorAction, Event as SuccessorEvent, Successor};
