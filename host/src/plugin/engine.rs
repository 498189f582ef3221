//! The one wasmtime engine of a host.

use std::sync::Arc;

use anyhow::{Context, Result};
use wasmtime::component::{HasSelf, Linker};

use super::allocation;
use super::bindings::Everything;
use super::capacity::Capacity;
use super::epoch::EpochTicker;
use super::functions::FunctionCache;
use super::guest::Guest;
use super::script::ScriptEngine;
use crate::contract::CallLimits;

/// The default limit on the instances of all plugins together. Each instance reserves about 8 GiB of address space,
/// not of memory.
pub const INSTANCES: u32 = 4096;

/// Compiles guests, links them, and interrupts them when their CPU time is over. Clones share one engine.
#[derive(Clone)]
pub struct Engine {
    pub(super) wasm: wasmtime::Engine,
    pub(super) linker: Arc<Linker<Guest>>,
    pub(super) ticker: Arc<EpochTicker>,
    pub(super) capacity: Arc<Capacity>,
    /// The compiled functions that the compiler reads and writes.
    pub(super) functions: Arc<FunctionCache>,
    pub(super) scripts: Arc<ScriptEngine>,
}

impl Engine {
    /// Creates an engine for up to `instances` instances at once, whose guests have these limits. If the process
    /// can't reserve enough address space, the engine reserves space for fewer instances, or allocates each instance
    /// separately. The log says so.
    ///
    /// # Errors
    /// Returns an error if this machine can't run the engine, for example because there is too little address space.
    pub fn new(limits: &CallLimits, instances: u32) -> Result<Self> {
        let functions = Arc::<FunctionCache>::default();
        let wasm = allocation::engine(limits, instances, &functions)?;
        let mut linker = Linker::new(&wasm);
        Everything::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
        let ticker = Arc::new(EpochTicker::start(wasm.weak()).context("starting the thread that interrupts guests")?);
        let (capacity, scripts) = (Arc::default(), Arc::default());
        Ok(Self { wasm, linker: Arc::new(linker), ticker, capacity, functions, scripts })
    }

    /// Waits until the thread that interrupts guests has ended. Without this thread, a guest in an endless loop would
    /// never end.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ticker.ended()
    }
}
