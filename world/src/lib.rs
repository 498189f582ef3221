//! A small host without I/O for test kits: members join topics, callbacks run, their effects are carried out, and the
//! test moves the clock.
//!
//! The code that runs the callbacks is a parameter ([`Callbacks`]): the Rust SDK's test kit calls native functions, and
//! `bennu kit` calls a process in another language. The rules are those of `bennu_semantics`, which a real host uses
//! too.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod callbacks;
mod context;
mod deliveries;
mod entries;
mod facts;
mod online;
mod resources;
mod saved;
mod schedules;
mod stored;
mod timer;
mod tokens;
mod turn;
mod world;

pub use callbacks::{CallOutcome, Callbacks, MemberCall};
pub use context::{CallContext, Level};
pub use deliveries::{Delivered, DeliveryState};
pub use entries::{Entries, PendingEntries};
pub use facts::{Grants, HostFacts, Person, SocketFacts};
pub use online::{Diff, Online};
pub use resources::Resources;
pub use saved::{Saved, StateSnapshot};
pub use stored::{Draft, Order, Row, Stored};
pub use timer::{Sent, Timer, take_due};
pub use tokens::{TokenProblem, sign};
pub use turn::{Asked, CallRequest, Turn, ask, check_mailbox, decide};
pub use world::{Client, Frame, Incoming, NotJoined, Received, Remainder, Role, TURNS_MAX, World};
