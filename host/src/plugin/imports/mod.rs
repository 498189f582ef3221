//! What a guest may ask of the host: the implementation of the contract's imports.
//!
//! Reads are answered at once; effects go into the call's record. An error ends the call: wasmtime unwinds the guest, and
//! the fault comes out at the other end.

mod effects;
mod reads;
mod request;
mod store;

use super::bindings::bennu::channel::types;
use super::guest::Guest;
use crate::contract::Fault;
use crate::protocol::Pattern;

impl types::Host for Guest {}

impl Guest {
    /// A topic, or a socket's id, that the plugin may act upon: one of its own routes, or granted.
    fn check_reachable(&self, doing: &str, topic: &str) -> Result<(), Fault> {
        let context = &self.context;
        if context.own.iter().chain(context.origin.publish.iter()).any(|pattern| pattern.matches(topic)) {
            return Ok(());
        }
        let name = &context.origin.name;
        Err(Fault::failed(format!("{doing} `{topic}` isn't granted; add it to `plugins.{name}.publish`")))
    }

    /// A topic that the plugin may read about and hear.
    fn check_readable(&self, topic: &str) -> Result<(), Fault> {
        let context = &self.context;
        if context.own.iter().chain(context.origin.read.iter()).any(|pattern| pattern.matches(topic)) {
            return Ok(());
        }
        Err(self.unreadable(topic))
    }

    fn unreadable(&self, topic: &str) -> Fault {
        let name = &self.context.origin.name;
        Fault::failed(format!("reading `{topic}` isn't granted; add it to `plugins.{name}.read`"))
    }
}

/// Whether a pattern matches every topic with a prefix.
fn matches_all(pattern: &Pattern, prefix: &str) -> bool {
    matches!(pattern, Pattern::Prefix(granted) if prefix.starts_with(&**granted))
}
