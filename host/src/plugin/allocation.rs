//! Where the memory of instances comes from: address space that is reserved once for all of them, or the operating system for
//! each instance.
//!
//! A pool whose memories have 4 GiB of address space each is the fastest: an instance is made without a system call, and compiled
//! code needs no check of an address. It reserves some 35 TB for 4,096 instances, and not every process may have that: `ulimit -v`,
//! `vm.overcommit_memory=2`, a container, or a processor with 39 bits of addresses. So the engine takes the first allocation
//! of a list that this process may have.

use std::fmt;

use anyhow::{Context, Result, anyhow};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::contract::CallLimits;

/// What the largest guests need (Python's): 64 core instances and tables, 8 memories.
const CORE_INSTANCES_EACH: u32 = 64;
const TABLES_EACH: u32 = 64;
const MEMORIES_EACH: u32 = 8;

/// Where the memory of instances comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allocation {
    /// A pool for so many instances, with 4 GiB of address space for each memory.
    Pool(u32),
    /// A pool for so many instances, with as much address space for each memory as it may grow to. Compiled code checks
    /// addresses.
    SmallPool(u32),
    /// The operating system is asked for each instance. Compiled code checks addresses, and a memory that grows may move.
    OnDemand,
}

/// A small pool has at least so many instances; below that, instances are made on demand.
const POOL_LEAST: u32 = 16;

/// Each small pool has this share (one in so many) of the instances of the one before it.
const STEP: u32 = 4;

/// Address space that has to be left for the rest of the host, in pieces as an allocator asks for them: threads, compiling,
/// the store's cache, connections.
const LEFT_OVER: [usize; 2] = [256 << 20; 2];

/// The least with which a host can be expected to work at all.
const LEFT_OVER_LEAST: [usize; 1] = [256 << 20];

/// The step in which a guest's memory grows, the guard behind a memory whose addresses are checked, and what a memory that is made
/// on demand may grow by before it moves.
const PAGE: u64 = 64 << 10;
const GROWTH: u64 = 1 << 20;

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(instances) => write!(f, "address space is reserved for {instances} instances"),
            Self::SmallPool(instances) => {
                write!(f, "less is reserved, for {instances} instances, and guests run somewhat slower")
            }
            Self::OnDemand => write!(f, "nothing is reserved, so instances are made and run somewhat slower"),
        }
    }
}

/// An engine for so many instances at once, with the first allocation that this process may have.
///
/// # Errors
/// Where there isn't even enough address space for the host without instances, or the machine can't run the engine.
pub(super) fn engine(limits: &CallLimits, instances: u32) -> Result<wasmtime::Engine> {
    let mut refused = None;
    for allocation in choices(instances) {
        match try_engine(limits, allocation) {
            Ok(engine) => {
                if let Some(why) = refused {
                    tracing::warn!(
                        "this process can't reserve address space for {instances} instances ({why:#}): {allocation}; raise \
                         `ulimit -v` and the like, or set `limits.instances` lower (docs/limits.md says what is reserved)"
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

/// What is tried, the best first.
fn choices(instances: u32) -> Vec<Allocation> {
    let smaller = std::iter::successors(Some(instances), |instances| Some(instances / STEP));
    let smaller = smaller.take_while(|&fewer| fewer >= POOL_LEAST || fewer == instances).map(Allocation::SmallPool);
    std::iter::once(Allocation::Pool(instances)).chain(smaller).chain([Allocation::OnDemand]).collect()
}

fn try_engine(limits: &CallLimits, allocation: Allocation) -> Result<wasmtime::Engine> {
    let engine = wasmtime::Engine::new(&config(limits, allocation))?;
    // What a pool takes away may be all that there was.
    let rest: &[usize] = if allocation == Allocation::OnDemand { &LEFT_OVER_LEAST } else { &LEFT_OVER };
    if !is_left(rest) {
        return Err(anyhow!("too little address space is left for the rest of the host"));
    }
    Ok(engine)
}

/// Whether pieces of these sizes can be had. They are asked for and given back untouched, so they take no memory.
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
        // Measured: a call costs a third of what it does with it.
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
    // Two of each for an instance, as those of most languages have, and enough for one of the largest.
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
    fn every_allocation_is_a_configuration_that_the_engine_takes() -> Result<()> {
        for memory_bytes in [64 << 10, 64 << 20, (64 << 20) + 1, 4 << 30] {
            let limits = CallLimits { memory_bytes, ..CallLimits::default() };
            for allocation in choices(1) {
                try_engine(&limits, allocation).with_context(|| format!("{allocation:?} of {memory_bytes} bytes"))?;
            }
        }
        Ok(())
    }
}
