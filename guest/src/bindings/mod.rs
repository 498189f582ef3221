//! The contract, generated from `wit/` by `cargo xtask bindings`.

#[cfg(not(target_family = "wasm"))]
pub(crate) mod effects;
pub mod gatekeeper;
pub mod plugin;

pub use gatekeeper::bennu::channel::request;
pub use gatekeeper::exports::bennu::channel::connect;
pub use plugin::{bennu, exports};
