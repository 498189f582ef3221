//! The instances of one generation of a plugin: reused, and replaced at any doubt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::backtrace::fault_of;
use super::exports::Prepared;
use super::guest::{Guest, Origin, Remains, Terms};
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

/// Those that nobody uses. Behind pointers, since they are moved in and out for each call.
type Idle = Vec<Box<Instance>>;

/// A bounded set of instances.
pub(super) struct Pool {
    prepared: Prepared,
    terms: Arc<Terms>,
    limits: PoolLimits,
    free: Semaphore,
    idle: Mutex<Idle>,
}

/// An instance taken out of the pool. Dropping it drops the instance; only [`Borrowed::settle`] gives it back.
pub(super) struct Borrowed<'a> {
    pub(super) instance: Box<Instance>,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(prepared: Prepared, terms: Arc<Terms>, limits: PoolLimits) -> Self {
        let free = Semaphore::new(limits.instances);
        Self { prepared, terms, limits, free, idle: Mutex::default() }
    }

    /// Which plugin it is.
    pub(super) fn origin(&self) -> &Origin {
        &self.terms.origin
    }

    /// Whether the plugin takes over states that another version wrote.
    pub(super) fn upgrades(&self) -> bool {
        self.prepared.has_upgrade()
    }

    /// Takes a used instance, if there is one and nobody waits for it.
    pub(super) fn take_idle(&self) -> Option<Borrowed<'_>> {
        let permit = self.free.try_acquire().ok()?;
        let instance = self.idle().pop()?;
        Some(Borrowed { instance, pool: self, _permit: permit })
    }

    /// Takes an instance, a used one if there is one. Waits while all are at work.
    pub(super) async fn take(&self) -> Result<Borrowed<'_>, Fault> {
        let closed = |_| Fault::failed("the plugin was unloaded");
        let permit = self.free.acquire().await.map_err(closed)?;
        let idle = self.idle().pop();
        let instance = match idle {
            Some(instance) => instance,
            // Once in many calls, which aren't to carry the room for it.
            None => Box::pin(self.instantiate()).await?,
        };
        Ok(Borrowed { instance, pool: self, _permit: permit })
    }

    async fn instantiate(&self) -> Result<Box<Instance>, Fault> {
        let made = Instance::new(&self.prepared, Guest::new(Arc::clone(&self.terms))).await;
        made.map(Box::new).map_err(|error| {
            let fault = fault_of(&error, Remains::default());
            Fault::new(fault.kind, format!("no instance could be made: {}", fault.detail))
        })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Borrowed<'_> {
    /// Gives the instance back if its call went well, and drops it otherwise.
    pub(super) fn settle<T>(self, result: wasmtime::Result<T>) -> Result<T, Fault> {
        let Self { mut instance, pool, _permit } = self;
        match result {
            Ok(value) => {
                instance.guest_mut().log_panic();
                if !instance.has_grown(GROWN_SHARE) && instance.calls < pool.limits.calls_per_instance {
                    pool.idle().push(instance);
                }
                Ok(value)
            }
            Err(error) => Err(fault_of(&error, instance.guest_mut().remains())),
        }
    }
}
