//! Servers for tests, each in a directory of its own: [`PostgresServer`], [`PostgresPooler`] and [`NatsServer`]. A way to a server that a test
//! can cut: [`Relay`], and [`Namespace`] where the machine allows it. And how tests wait: for a condition, with a deadline ([`eventually`]).

mod namespace;
mod nats;
mod pooler;
mod postgres;
mod process;
mod relay;
mod wait;

pub use namespace::Namespace;
pub use nats::NatsServer;
pub use pooler::PostgresPooler;
pub use postgres::PostgresServer;
pub use process::free_port;
pub use relay::{Relay, Way};
pub use wait::{DEADLINE, eventually, within};
