//! The whole: configuration, wiring, and the order of start and stop.

mod config;
mod host;
mod limits;
mod logging;
mod overview;
mod surroundings;

pub use config::{Config, LogFormat, PluginTable};
pub use host::{Host, loader};
pub use limits::Limits;
pub use logging::start_logging;
pub use surroundings::HostSurroundings;
