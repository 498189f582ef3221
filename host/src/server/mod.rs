//! A whole host: configuration, wiring, and the order of start and stop.

mod api_key;
mod check;
mod cluster;
mod config;
mod config_reload;
mod data;
mod findings;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handing_over;
mod held_requests;
mod host;
mod jwks;
mod jwks_schedule;
mod later;
mod limits;
mod listeners;
mod logging;
mod mounts;
mod nearest;
mod overview;
mod parts;
mod scope_limits;
mod self_test;
mod service_manager;
mod start;
mod stopping;
mod surroundings;
mod taking_over;
mod tasks;
mod vital;

pub use api_key::{api_key_file, made_api_key};
pub use check::{Checked, check};
pub use cluster::ClusterSeams;
pub use config::{
    ApiKeyTable, ApiTable, AuthName, BuildTable, ClusterBus, ClusterTable, Config, ConfigChange, HttpGrant,
    HttpGrantTable, JwksUrl, JwtTable, LanguageName, LogFormat, MountTable, NatsTable, PluginTable, ServiceUrl,
    StoreTable, TakesEffect, TokenTable, TransportName, WebPushTable, WebhookTable,
};
pub use config_reload::{ConfigReload, ConfigReloaded, ReadConfig};
pub use findings::Finding;
pub use handing_over::Relaunch;
pub use host::Host;
pub use limits::Limits;
pub use listeners::Listeners;
pub use logging::{LogEvent, flush_log, log_lines_lost, start_logging, start_logging_with, write_error_line};
pub use mounts::tokens;
pub use overview::Overview;
pub use parts::loader;
pub use scope_limits::{AddressLimits, UserLimits};
pub use service_manager::ServiceManager;
pub use start::Start;
pub use surroundings::HostSurroundings;
pub use taking_over::{Inherited, TakeOver, take_over};
pub use vital::Ended;

// Tests of the reactors of `transport`. They are here because they need a node, which `transport` can't use.
#[cfg(test)]
#[path = "testing/reactors.rs"]
mod reactors_tests;
