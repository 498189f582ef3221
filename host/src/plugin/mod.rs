//! Plugins: WebAssembly components that implement [`Behaviour`](crate::contract::Behaviour), and how they are loaded.
//!
//! A file becomes a plugin in six steps. First, a core module is wrapped as a component. Then the host reads the
//! component's imports, exports and contract version. The component is compiled, or found in the cache. It is linked
//! and instantiated once. Finally, its `describe` returns its routes. Each step can refuse the file with an error
//! message. The [`Library`] does this in tasks, for every file that appears or changes, and publishes the routes.
//!
//! A guest can use only the functions in `imports`, and those of `wasi`, which have the same reach: it has no files, no
//! network, and no clock except the host's.

mod again;
mod allocation;
mod anatomy;
mod backtrace;
#[allow(unsafe_code, reason = "generated; the typed functions are checked against the component when it is loaded")]
mod bindings;
mod builds;
mod cache;
mod call_kind;
mod capacity;
mod cluster_status;
mod compiler;
mod convert;
mod core_module;
mod digest;
mod engine;
mod epoch;
mod exports;
mod functions;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod guest;
mod guest_log;
mod history;
mod http_phase;
mod implied_world;
mod imports;
mod instance;
mod kinds;
mod library;
mod loader;
mod output;
mod plugin_limits;
mod pool;
mod repeat;
mod scan;
mod script;
mod source_lines;
mod status;
mod tools;
mod unclaimed;
mod usage;
mod wasi;
mod wasm;
mod watcher;
mod within;

use anatomy::Likeness;
pub use anatomy::{Anatomy, Kind};
pub use builds::Builds;
pub use cache::Cache;
pub use call_kind::CallKind;
pub use cluster_status::{ClusterPluginStatus, ClusterProbation, NodePluginStatus, RolloutStatus, ServingStatus};
pub use core_module::wrapped;
pub use digest::Digest;
pub use engine::{Engine, INSTANCES};
pub use guest::{Grants, Origin};
pub use kinds::Kinds;
pub use library::{
    BuildFacts, BuildLoader, ClusterPlugins, Command, CommandAnswer, CommandError, Control, FileOffer, Library,
    LibraryConfig, LibraryEvent, LibraryOptions, LibraryPause, PluginSettings, RolledBackBuild, ServeOrder, ServePhase,
    Settings,
};
pub use loader::{Loaded, Loader};
pub use plugin_limits::PluginLimits;
pub use pool::PoolLimits;
pub use scan::{Source, name_of};
pub use script::{blank_types, build_of, remove_types};
pub use status::{LoadCounts, OnProbation, PluginPhase, PluginStatus, PluginStatuses, RolledBack};
pub use tools::Tools;
pub use unclaimed::{Unclaimed, unclaimed};
pub use usage::{CALL_BOUNDS, PluginUsage, UsageCounts};
pub use wasm::WasmPlugin;
