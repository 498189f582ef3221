//! The wire format of the Phoenix Channels protocol, as functions of values.
//!
//! Frames come in and go out as bytes. Nothing here waits or uses a socket. A client's payload is only checked to be
//! valid JSON. It stays a slice of its frame, so other clients get it unchanged.

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
