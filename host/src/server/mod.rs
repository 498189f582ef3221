//! The whole: configuration, wiring, and the order of start and stop.

mod config;
mod host;
mod limits;
mod logging;
mod mounts;
mod surroundings;

pub use config::{ApiTable, AuthName, Config, JwtTable, LogFormat, MountTable, PluginTable, TokenTable, TransportName};
pub use host::{Host, loader};
pub use limits::Limits;
pub use logging::start_logging;
pub use mounts::tokens;
pub use surroundings::HostSurroundings;

// The threads of `transport` at work. Here a node can be made for them.
#[cfg(test)]
#[path = "testing/reactors.rs"]
mod reactors_tests;
