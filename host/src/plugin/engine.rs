//! The one wasmtime engine of a host, and the clock of its guests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::bindings::Everything;
use super::guest::Guest;
use crate::contract::CallLimits;

/// How often a running guest is made to yield, and the unit in which its CPU time is counted.
pub(super) const EPOCH: Duration = Duration::from_millis(1);

/// Instances of all plugins together. Each reserves address space, not memory.
const INSTANCES_MAX: u32 = 4096;

/// What the largest guests need (Python's): 64 core instances and tables, 8 memories.
const CORE_INSTANCES_EACH: u32 = 64;
const TABLES_EACH: u32 = 64;
const MEMORIES_EACH: u32 = 8;

/// Compiles, links and times guests. Cloning shares it.
#[derive(Clone)]
pub struct Engine {
    pub(super) wasm: wasmtime::Engine,
    pub(super) linker: Arc<Linker<Guest>>,
    _ticker: Arc<Ticker>,
}

impl Engine {
    /// An engine whose guests have these limits.
    ///
    /// # Errors
    /// Where this machine can't run it, such as when it gives no address space.
    pub fn new(limits: &CallLimits) -> Result<Self> {
        let wasm = wasmtime::Engine::new(&config(limits))
            .map_err(anyhow::Error::from)
            .context("starting the WebAssembly engine")?;
        let mut linker = Linker::new(&wasm);
        Everything::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
        let ticker = Arc::new(Ticker::start(wasm.weak()).context("starting the guests' clock")?);
        Ok(Self { wasm, linker: Arc::new(linker), _ticker: ticker })
    }
}

fn config(limits: &CallLimits) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES_MAX)
        .total_core_instances(INSTANCES_MAX * 2)
        .total_memories(INSTANCES_MAX * 2)
        .total_tables(INSTANCES_MAX * 2)
        .total_stacks(INSTANCES_MAX)
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

/// The thread that moves the epoch on.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let tick = move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(EPOCH);
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        };
        let thread = std::thread::Builder::new().name("bennu-epochs".into()).spawn(tick)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
