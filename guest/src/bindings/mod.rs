//! The contract, generated from `wit/` by `cargo xtask bindings`.

pub mod gatekeeper;
pub mod plugin;

pub use gatekeeper::bennu::channel::request;
pub use gatekeeper::exports::bennu::channel::connect;
pub use plugin::{bennu, exports};
