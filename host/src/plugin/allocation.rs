//! Chooses where the memory of instances comes from: address space that is reserved once for all instances, or
//! separate allocations by the operating system.
//!
//! A pool with 4 GiB of address space for each memory is the fastest choice. An instance is created without a system
//! call, and compiled code doesn't check addresses. Such a pool reserves about 35 TB for 4,096 instances, and not
//! every process may reserve that much. Limits come from `ulimit -v`, `vm.overcommit_memory=2`, a container, or a
//! processor with 39-bit addresses. So the engine tries a list of allocations, and takes the first one that this
//! process may have.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::functions::FunctionCache;
use crate::contract::CallLimits;

/// The needs of the largest guests (Python's): 64 core instances and tables, 8 memories.
const CORE_INSTANCES_EACH: u32 = 64;
const TABLES_EACH: u32 = 64;
const MEMORIES_EACH: u32 = 8;

/// The source of the memory of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allocation {
    /// A pool for this number of instances, with 4 GiB of address space for each memory.
    Pool(u32),
    /// A pool for this number of instances. Each memory has as much address space as the memory may grow to, and
    /// compiled code checks addresses.
    SmallPool(u32),
    /// The operating system allocates each instance separately. Compiled code checks addresses, and a memory may move
    /// when it grows.
    OnDemand,
}

/// The minimum number of instances of a small pool. Below it, instances are allocated on demand.
const POOL_LEAST: u32 = 16;

/// Each small pool has `1 / STEP` of the instances of the one before it.
const STEP: u32 = 4;

/// The address space in bytes that must remain for the rest of the host: threads, compiling, the store's cache,
/// connections. It is checked in pieces, because an allocator also requests memory in pieces. Threads need much of it: each has its
/// stack, and glibc's allocator reserves 64 MiB for each of up to eight threads per processor. With a third of it, a debug build was
/// seen to refuse its only plugin, and to end by a panic in the library `notify`.
const LEFT_OVER: [usize; 3] = [256 << 20; 3];

/// `PAGE` is the step in which a guest's memory grows, and the size of the guard region behind a memory with checked
/// addresses. `GROWTH` is the amount by which an on-demand memory may grow before it moves. Both are in bytes.
const PAGE: u64 = 64 << 10;
const GROWTH: u64 = 1 << 20;

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(instances) => write!(f, "it reserves address space for {instances} instances"),
            Self::SmallPool(instances) => {
                write!(f, "it reserves less, for {instances} instances, and guests run slightly slower")
            }
            Self::OnDemand => write!(f, "it reserves nothing, so creating and running instances is slightly slower"),
        }
    }
}

/// Creates an engine for up to `instances` instances at once, with the first allocation that this process may have.
///
/// # Errors
/// Returns an error if there isn't enough address space for the host even without instances, or if this machine can't
/// run the engine.
pub(super) fn engine(limits: &CallLimits, instances: u32, functions: &Arc<FunctionCache>) -> Result<wasmtime::Engine> {
    let mut refused = None;
    for allocation in choices(instances) {
        match try_engine(limits, allocation, functions) {
            Ok(engine) => {
                if let Some(why) = refused {
                    tracing::warn!(
                        "this process can't reserve address space for {instances} instances ({why:#}): {allocation}; raise \
                         `ulimit -v` or a similar limit, or lower `limits.instances` (`bennu docs limits`)"
                    );
                }
                return Ok(engine);
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let why = refused.unwrap_or_else(|| anyhow!("there are no instances"));
    Err(why).context("starting the WebAssembly engine; this process needs more address space (`ulimit -v` limits it)")
}

/// Returns the allocations to try, the best first.
fn choices(instances: u32) -> Vec<Allocation> {
    let smaller = std::iter::successors(Some(instances), |instances| Some(instances / STEP));
    let smaller = smaller.take_while(|&fewer| fewer >= POOL_LEAST || fewer == instances).map(Allocation::SmallPool);
    std::iter::once(Allocation::Pool(instances)).chain(smaller).chain([Allocation::OnDemand]).collect()
}

fn try_engine(limits: &CallLimits, allocation: Allocation, functions: &Arc<FunctionCache>) -> Result<wasmtime::Engine> {
    let mut config = config(limits, allocation);
    config.enable_incremental_compilation(Arc::clone(functions) as _)?;
    let engine = wasmtime::Engine::new(&config)?;
    // The pool may have taken all remaining address space.
    if !is_left(&LEFT_OVER) {
        return Err(anyhow!("too little address space is left for the rest of the host"));
    }
    Ok(engine)
}

/// Whether pieces of these sizes can be allocated. They are freed without being touched, so they use no memory.
fn is_left(pieces: &[usize]) -> bool {
    let mut held: Vec<Vec<u8>> = Vec::with_capacity(pieces.len());
    pieces.iter().all(|&bytes| {
        let mut piece = Vec::new();
        let is_there = piece.try_reserve_exact(bytes).is_ok();
        held.push(std::hint::black_box(piece));
        is_there
    })
}

fn config(limits: &CallLimits, allocation: Allocation) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // With concurrency support, a call costs three times as much (measured).
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32));
    match allocation {
        Allocation::Pool(instances) => config.allocation_strategy(pool(limits, instances)),
        Allocation::SmallPool(instances) => config
            .allocation_strategy(pool(limits, instances))
            .memory_reservation((limits.memory_bytes as u64).next_multiple_of(PAGE))
            .memory_guard_size(PAGE),
        Allocation::OnDemand => config
            .allocation_strategy(InstanceAllocationStrategy::OnDemand)
            .memory_reservation(0)
            .memory_reservation_for_growth(GROWTH)
            .memory_guard_size(PAGE)
            .memory_may_move(true),
    };
    config
}

fn pool(limits: &CallLimits, instances: u32) -> InstanceAllocationStrategy {
    // Two of each per instance, which is enough for most languages, and at least enough for two of the largest
    // guests.
    let most = |each: u32| instances.saturating_mul(2).max(each * 2);
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
    InstanceAllocationStrategy::Pooling(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_pool_is_tried_first_and_no_pool_last() {
        use Allocation::{OnDemand, Pool, SmallPool};
        let expected =
            [Pool(4096), SmallPool(4096), SmallPool(1024), SmallPool(256), SmallPool(64), SmallPool(16), OnDemand];
        assert_eq!(choices(4096), expected);
        assert_eq!(choices(1), [Pool(1), SmallPool(1), OnDemand]);
    }

    #[test]
    fn the_engine_accepts_every_allocation() -> Result<()> {
        for memory_bytes in [64 << 10, 64 << 20, (64 << 20) + 1, 4 << 30] {
            let limits = CallLimits { memory_bytes, ..CallLimits::default() };
            for allocation in choices(1) {
                try_engine(&limits, allocation, &Arc::default())
                    .with_context(|| format!("{allocation:?} of {memory_bytes} bytes"))?;
            }
        }
        Ok(())
    }
}
