//! One client connection: what each message means for it.
//!
//! [`SocketState`] holds the rules, as a pure function of a message and the channels joined. [`Socket`] carries out what
//! it says; a transport brings the frames and writes the outbox.

mod connected;
mod rate;
mod registry;
mod state;
mod tally;

pub use connected::{Closing, Endpoint, Socket, SocketLimits};
pub use registry::{Registered, Sockets};
pub use state::{Action, Slot, SocketState};
pub use tally::{Client, Reason, Tally};
