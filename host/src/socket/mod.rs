//! One client connection, and the effect of each of its messages.
//!
//! [`SocketState`] contains the rules: a pure function of a message and the joined channels returns an [`Action`].
//! [`Socket`] carries out the action. A transport reads the frames and writes the outbox.

mod connected;
mod rate;
mod registry;
mod state;
mod tally;

pub use connected::{Closing, Endpoint, Socket, SocketLimits};
pub use registry::{Registered, Sockets};
pub use state::{Action, Slot, SocketState};
pub use tally::{Client, Reason, Tally};
