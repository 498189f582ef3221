//! The wire format of the Phoenix Channels protocol, as functions of values.
//!
//! Frames come in and go out as bytes. Nothing here waits or uses a socket. A client's payload is only checked to be
//! valid JSON. It stays a slice of its frame, so other clients get it unchanged.

mod binary;
mod close;
mod deflate;
mod frame;
mod message;
mod reference;
mod serializer;
mod supabase;
mod v1;
mod v2;

pub use bennu_semantics::{
    NAME_BYTES_MAX, Pattern, PatternError, Payload, PayloadError, REF_BYTES_MAX, Topic, read_object, read_value,
};
pub use close::CloseCode;
pub use deflate::Count as DeflateCount;
pub use frame::{Frame, Incoming};
pub use message::{Addressee, Message, Outbound, To, event};
pub use reference::Ref;
pub use serializer::{Dialect, Malformed, Serializer};
