//! The bus on NATS, without JetStream.
//!
//! ```text
//! bennu.<id of the cluster>.all           all nodes subscribe to it
//! bennu.<id of the cluster>.node.<epoch>  one node does
//! ```
//!
//! NATS has no fence: a node that counts as dead is heard until the others have read the table of nodes. What NATS loses, at a
//! reconnection or because a node was too slow, is told as [`BusEvent::Down`](crate::BusEvent::Down), and noticed by the numbers of the
//! link.

mod bus;
mod frame;
mod fuzz;
mod place;
mod receiver;
mod sender;

pub use bus::NatsBus;
pub use fuzz::fuzz_nats_message;
pub use place::{NatsLogin, NatsPlace, NatsTls};
