//! Clients by user and by address, and the limits of what they may do together.
//!
//! A limit of a socket ends with its connection, so a client that connects again begins anew. The other limits here belong to an
//! account of the user or of the address, which outlives the connections. A client is limited by all of them.
//!
//! Nothing here is done for a message while no limit applies: [`Clients::is_limiting`] is then two loads. The accounts of a
//! socket are looked up once, when they are first needed. After that, a message costs some atomic operations that only
//! sockets of the same user or address share.

mod account;
mod address;
mod bucket;
mod client;
mod faults;
mod hits;
mod limits;
mod plugins;
mod registry;

pub use address::AddressKey;
pub use client::{Act, Client};
pub use hits::{Limit, OverLimit};
pub use limits::{ClientLimits, MessageRates, RateLimit, ScopeLimits};
pub use plugins::FaultCause;
pub use registry::{Clients, Limited};
