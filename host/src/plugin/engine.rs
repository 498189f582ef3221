//! The one wasmtime engine of a host.

use std::sync::Arc;

use anyhow::{Context, Result};
use wasmtime::component::{HasSelf, Linker};

use super::allocation;
use super::bindings::Everything;
use super::capacity::Capacity;
use super::epoch::EpochTicker;
use super::guest::Guest;
use crate::contract::CallLimits;

/// Instances of all plugins of a host together, unless its configuration says otherwise. Each reserves address space, not
/// memory, some 8 GiB.
pub const INSTANCES: u32 = 4096;

/// Compiles, links and times guests. Cloning shares it.
#[derive(Clone)]
pub struct Engine {
    pub(super) wasm: wasmtime::Engine,
    pub(super) linker: Arc<Linker<Guest>>,
    pub(super) ticker: Arc<EpochTicker>,
    pub(super) capacity: Arc<Capacity>,
}

impl Engine {
    /// An engine for so many instances at once, whose guests have these limits. Where the process can't have the address space
    /// for them, there are fewer, or they are made one by one; the log says so.
    ///
    /// # Errors
    /// Where this machine can't run it, such as when it gives no address space.
    pub fn new(limits: &CallLimits, instances: u32) -> Result<Self> {
        let wasm = allocation::engine(limits, instances)?;
        let mut linker = Linker::new(&wasm);
        Everything::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
        let ticker = Arc::new(EpochTicker::start(wasm.weak()).context("starting the guests' clock")?);
        Ok(Self { wasm, linker: Arc::new(linker), ticker, capacity: Arc::default() })
    }

    /// Waits until the thread has ended that interrupts guests: without it, one that loops would never end.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ticker.ended()
    }
}
