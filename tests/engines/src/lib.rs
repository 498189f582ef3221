//! Servers for tests, each in a directory of its own: [`PostgresServer`], [`PostgresPooler`] and [`NatsServer`]. And how tests wait: for a condition, with a
//! deadline ([`eventually`]).

mod nats;
mod pooler;
mod postgres;
mod process;
mod wait;

pub use nats::NatsServer;
pub use pooler::PostgresPooler;
pub use postgres::PostgresServer;
pub use wait::{DEADLINE, eventually, within};
