//! Plugins: WebAssembly components behind [`Behaviour`](crate::contract::Behaviour), and where they come from.
//!
//! A file becomes a plugin in steps, each of which can refuse it with a sentence: its anatomy is read (is it a component,
//! of which version), it is compiled (or found in the cache), linked, instantiated once, and asked to `describe` itself.
//! The [`Library`] does that for every file that appears or changes, in tasks, and publishes the routes.
//!
//! What a guest can reach is what `imports` gives it: no file, no network, no clock but the host's.

mod allocation;
mod anatomy;
mod backtrace;
#[allow(unsafe_code, reason = "generated; the typed functions are checked against the component when it is loaded")]
mod bindings;
mod builds;
mod cache;
mod capacity;
mod compiler;
mod convert;
mod digest;
mod engine;
mod epoch;
mod exports;
mod guest;
mod history;
mod imports;
mod instance;
mod kinds;
mod library;
mod loader;
mod pool;
mod scan;
mod status;
mod unclaimed;
mod wasm;
mod watcher;
mod within;

use anatomy::Likeness;
pub use anatomy::{Anatomy, Kind};
pub use builds::Builds;
pub use cache::Cache;
pub use digest::Digest;
pub use engine::{Engine, INSTANCES};
pub use guest::{Grants, Origin};
pub use kinds::Kinds;
pub use library::{Command, CommandError, Control, Library, LibraryOptions, PluginSettings, Settings};
pub use loader::{Loaded, Loader};
pub use pool::PoolLimits;
pub use scan::Source;
pub use status::{OnProbation, PluginPhase, PluginStatus, PluginStatuses, RolledBack};
pub use unclaimed::{Unclaimed, unclaimed};
pub use wasm::WasmPlugin;
