//! The table of nodes, and the bus, on PostgreSQL.
//!
//! ```text
//! flush ──► pieces ──► bus_send(epoch, incarnation, pieces) ──► one channel ──► all listeners ──► pieces ──► flush
//! ```
//!
//! One channel of `NOTIFY` carries everything, because whoever holds the lock of the server's queue holds up all others: so a flush is one
//! transaction with many messages. The order of the queue is the order of the commits. The functions in the database refuse what a
//! dead node sends.

mod bus;
mod connect;
mod failure;
mod fuzz;
mod node_row;
mod pieces;
mod receiver;
mod registry;
mod registry_rows;
mod sender;
mod session;
mod table;
mod version;

pub use bus::PostgresBus;
pub use connect::{Connect, ConnectError, Connection, Messages, drive};
pub use fuzz::{fuzz_node_row, fuzz_notification, fuzz_records, fuzz_reports};
pub use registry::PostgresRegistry;
pub use table::PostgresTable;

/// The tables and the functions of the cluster, as a step of a schema. `{schema}` stands for the name of the schema, which is lower-case
/// ASCII.
pub const SCHEMA_STEP: &str = include_str!("schema.sql");

/// The tables and the functions of the registry of plugins, as a further step. It needs a function
/// `set_generation(store text, generation bigint)` in the schema when it is used: the store's, which lets only calls of that generation write.
pub const REGISTRY_STEP: &str = include_str!("registry.sql");
