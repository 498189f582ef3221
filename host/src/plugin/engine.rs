//! The one wasmtime engine of a host.

use std::sync::Arc;

use anyhow::{Context, Result};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::bindings::Everything;
use super::clock::Clock;
use super::guest::Guest;
use crate::contract::CallLimits;

/// Instances of all plugins of a host together. Each reserves address space, not memory, some 8 GiB.
pub const INSTANCES_MAX: u32 = 4096;

/// What the largest guests need (Python's): 64 core instances and tables, 8 memories.
const CORE_INSTANCES_EACH: u32 = 64;
const TABLES_EACH: u32 = 64;
const MEMORIES_EACH: u32 = 8;

/// Compiles, links and times guests. Cloning shares it.
#[derive(Clone)]
pub struct Engine {
    pub(super) wasm: wasmtime::Engine,
    pub(super) linker: Arc<Linker<Guest>>,
    pub(super) clock: Arc<Clock>,
}

impl Engine {
    /// An engine for so many instances at once, whose guests have these limits.
    ///
    /// # Errors
    /// Where this machine can't run it, such as when it gives no address space.
    pub fn new(limits: &CallLimits, instances: u32) -> Result<Self> {
        let wasm = wasmtime::Engine::new(&config(limits, instances))
            .map_err(anyhow::Error::from)
            .context("starting the WebAssembly engine")?;
        let mut linker = Linker::new(&wasm);
        Everything::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
        let clock = Arc::new(Clock::start(wasm.weak()).context("starting the guests' clock")?);
        Ok(Self { wasm, linker: Arc::new(linker), clock })
    }

    /// Waits until the thread has ended that interrupts guests: without it, one that loops would never end.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.clock.ended()
    }
}

fn config(limits: &CallLimits, instances: u32) -> Config {
    // Two of each for an instance, as those of most languages have, and enough for one of the largest.
    let most = |each: u32| (instances * 2).max(each * 2);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(most(CORE_INSTANCES_EACH))
        .total_memories(most(MEMORIES_EACH))
        .total_tables(most(TABLES_EACH))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES_EACH)
        .max_memories_per_component(MEMORIES_EACH)
        .max_tables_per_component(TABLES_EACH)
        .max_core_instance_size(1 << 20)
        .max_component_instance_size(1 << 20)
        .table_elements(1 << 16)
        .max_memory_size(limits.memory_bytes);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        // Measured: a call costs a third of what it does with it.
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32));
    config
}
