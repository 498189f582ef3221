//! The instances of one generation of a plugin: reused, and replaced at any doubt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::backtrace::fault_of;
use super::exports::Prepared;
use super::guest::{Guest, Terms};
use super::instance::Instance;
use crate::contract::Fault;

/// How many instances a plugin has, and for how long each is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Instances at once. Past it calls wait, for as long as their wall time lasts.
    pub instances: usize,
    /// Calls after which an instance is replaced: some languages' guests grow for ever.
    pub calls_per_instance: u32,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { instances: 32, calls_per_instance: 100_000 }
    }
}

/// An instance that has grown by more than this share (one in so many) of what it may is replaced after its call.
const GROWN_SHARE: usize = 4;

/// A bounded set of instances.
pub(super) struct Pool {
    prepared: Prepared,
    terms: Arc<Terms>,
    limits: PoolLimits,
    free: Semaphore,
    idle: Mutex<Vec<Instance>>,
}

/// An instance taken out of the pool. Dropping it drops the instance; only [`Pool::put_back`] keeps it.
pub(super) struct Borrowed<'a> {
    pub(super) instance: Instance,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(prepared: Prepared, terms: Arc<Terms>, limits: PoolLimits) -> Self {
        let free = Semaphore::new(limits.instances);
        Self { prepared, terms, limits, free, idle: Mutex::default() }
    }

    /// Whether the plugin takes over states that another version wrote.
    pub(super) fn upgrades(&self) -> bool {
        self.prepared.has_upgrade()
    }

    /// Takes an instance, a used one if there is one. Waits while all are at work.
    pub(super) async fn take(&self) -> Result<Borrowed<'_>, Fault> {
        let closed = |_| Fault::failed("the plugin was unloaded");
        let permit = self.free.acquire().await.map_err(closed)?;
        let idle = self.idle().pop();
        let instance = match idle {
            Some(instance) => instance,
            None => self.instantiate().await?,
        };
        Ok(Borrowed { instance, _permit: permit })
    }

    /// Gives an instance back after a call that went well.
    pub(super) fn put_back(&self, borrowed: Borrowed<'_>) {
        let Borrowed { instance, _permit } = borrowed;
        if !instance.has_grown(GROWN_SHARE) && instance.calls < self.limits.calls_per_instance {
            self.idle().push(instance);
        }
    }

    async fn instantiate(&self) -> Result<Instance, Fault> {
        let made = Instance::new(&self.prepared, Guest::new(Arc::clone(&self.terms))).await;
        made.map_err(|error| {
            let fault = fault_of(&error, false);
            Fault::new(fault.kind, format!("no instance could be made: {}", fault.detail))
        })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
