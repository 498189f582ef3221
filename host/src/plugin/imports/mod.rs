//! The functions that a guest imports from the host, as the contract declares them.
//!
//! Reads return at once, except those of the store. Effects go into the call's record. An error ends the call:
//! wasmtime unwinds the guest, and the host gets the fault as the call's result.

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
    /// Checks that the plugin may act on a topic or a socket id: one that its own routes or its grants match.
    fn check_reachable(&self, doing: &str, topic: &str) -> Result<(), Fault> {
        let context = &self.context;
        if context.own.iter().chain(context.origin.publish.iter()).any(|pattern| pattern.matches(topic)) {
            return Ok(());
        }
        let name = &context.origin.name;
        Err(Fault::failed(format!("{doing} `{topic}` isn't granted; add it to `plugins.{name}.publish`")))
    }

    /// Checks that the plugin may read about a topic and subscribe to it.
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

/// Returns whether a pattern matches every topic with this prefix.
fn matches_all(pattern: &Pattern, prefix: &str) -> bool {
    matches!(pattern, Pattern::Prefix(granted) if prefix.starts_with(&**granted))
}
