//! The functions that a guest imports from the host, as the contract declares them.
//!
//! Reads return at once, except those of the store, of entries, by HTTP, and of the members at other nodes. Effects go into the call's record. An error ends the call:
//! wasmtime unwinds the guest, and the host gets the fault as the call's result.

mod effects;
mod entries;
mod http;
mod reads;
mod request;
mod schedule;
mod store;

use std::future::poll_fn;
use std::pin::pin;

use super::bindings::bennu::channel::types;
use super::guest::Guest;
use crate::contract::{Fault, Reach};

impl types::Host for Guest {}

impl Guest {
    /// What the plugin may act upon and read about.
    fn reach(&self) -> Result<Reach<'_>, Fault> {
        self.check_evaluated()?;
        let context = &self.context;
        let origin = &context.origin;
        Ok(Reach { plugin: &origin.name, own: &context.own, publish: &origin.publish, read: &origin.read })
    }
}

/// Returns the result of a read, and whether the read had to wait for the disk or for other nodes.
async fn waited<T>(read: impl Future<Output = T>) -> (T, bool) {
    let (mut read, mut has_waited) = (pin!(read), false);
    let done = poll_fn(|context| {
        let polled = read.as_mut().poll(context);
        has_waited |= polled.is_pending();
        polled
    });
    let done = done.await;
    (done, has_waited)
}
