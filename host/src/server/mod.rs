//! The whole: configuration, wiring, and the order of start and stop.

mod config;
mod host;
mod limits;
mod logging;
mod mounts;
mod surroundings;
mod vital;

pub use config::{ApiTable, AuthName, Config, JwtTable, LogFormat, MountTable, PluginTable, TokenTable, TransportName};
pub use host::{Host, loader};
pub use limits::Limits;
pub use logging::{flush_log, log_lines_lost, start_logging, write_error_line};
pub use mounts::tokens;
pub use surroundings::HostSurroundings;
pub use vital::Ended;
