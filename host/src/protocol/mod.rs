//! The wire: what the Phoenix Channels protocol says, as functions on values.
//!
//! Frames come in as bytes and leave as bytes; nothing in here waits, and nothing knows a socket. A payload is never
//! looked into (it stays a slice of the frame that it came in), so what a client sends reaches the others unchanged.

mod binary;
mod close;
mod frame;
mod json;
mod message;
mod name;
#[cfg(test)]
mod noise;
mod payload;
mod reference;
mod scan;
mod serializer;
mod v1;
mod v2;

pub use close::CloseCode;
pub use frame::{Frame, Incoming};
pub use json::{read_object, read_value};
pub use message::{Addressee, Message, Outbound, To, event};
pub use name::{NAME_BYTES_MAX, Pattern, PatternError, REF_BYTES_MAX, Topic};
pub use payload::{Payload, PayloadError};
pub use reference::Ref;
pub use serializer::{Malformed, Serializer};
