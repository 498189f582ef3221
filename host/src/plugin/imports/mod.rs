//! The functions that a guest imports from the host, as the contract declares them.
//!
//! Reads return at once, except those of the store. Effects go into the call's record. An error ends the call:
//! wasmtime unwinds the guest, and the host gets the fault as the call's result.

mod effects;
mod entries;
mod reads;
mod request;
mod store;

use super::bindings::bennu::channel::types;
use super::guest::Guest;
use crate::contract::Reach;

impl types::Host for Guest {}

impl Guest {
    /// What the plugin may act upon and read about.
    fn reach(&self) -> Reach<'_> {
        let context = &self.context;
        let origin = &context.origin;
        Reach { plugin: &origin.name, own: &context.own, publish: &origin.publish, read: &origin.read }
    }
}
