//! The instances of one generation of a plugin: reused, and replaced at any doubt.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::backtrace::fault_of;
use super::capacity::{Capacity, Idle};
use super::exports::Prepared;
use super::guest::{CallDiagnostics, GuestContext, Origin};
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
    context: Arc<GuestContext>,
    limits: PoolLimits,
    free: Semaphore,
    /// Those that nobody uses. Other plugins may have them given up.
    idle: Arc<Idle>,
    capacity: Arc<Capacity>,
}

/// An instance taken out of the pool. Dropping it drops the instance; only [`Borrowed::settle`] gives it back.
pub(super) struct Borrowed<'a> {
    pub(super) instance: Box<Instance>,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(
        prepared: Prepared,
        context: Arc<GuestContext>,
        limits: PoolLimits,
        capacity: Arc<Capacity>,
    ) -> Self {
        let (free, idle) = (Semaphore::new(limits.instances), Arc::default());
        capacity.share(&idle);
        Self { prepared, context, limits, free, idle, capacity }
    }

    /// Which plugin it is.
    pub(super) fn origin(&self) -> &Origin {
        &self.context.origin
    }

    /// Whether the plugin takes over states that another version wrote.
    pub(super) fn upgrades(&self) -> bool {
        self.prepared.has_upgrade()
    }

    /// Takes a used instance, if there is one and nobody waits for it.
    pub(super) fn take_idle(&self) -> Option<Borrowed<'_>> {
        let permit = self.free.try_acquire().ok()?;
        let instance = self.idle.lock().pop()?;
        Some(Borrowed { instance, pool: self, _permit: permit })
    }

    /// Takes an instance, a used one if there is one. Waits while all are at work.
    pub(super) async fn take(&self) -> Result<Borrowed<'_>, Fault> {
        let closed = |_| Fault::failed("the plugin was unloaded");
        let permit = self.free.acquire().await.map_err(closed)?;
        let idle = self.idle.lock().pop();
        let instance = match idle {
            Some(instance) => instance,
            // Once in many calls, which aren't to carry the room for it.
            None => Box::pin(self.instantiate()).await?,
        };
        Ok(Borrowed { instance, pool: self, _permit: permit })
    }

    async fn instantiate(&self) -> Result<Box<Instance>, Fault> {
        let made = self.capacity.instance(&self.prepared, &self.context).await;
        made.map(Box::new).map_err(|error| {
            let fault = fault_of(&error, CallDiagnostics::default());
            Fault::new(fault.kind, format!("no instance could be made: {}", fault.detail))
        })
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
                    let mut idle = pool.idle.lock();
                    if !pool.capacity.is_wanted() {
                        idle.push(instance);
                    }
                }
                Ok(value)
            }
            Err(error) => Err(fault_of(&error, instance.guest_mut().take_diagnostics())),
        }
    }
}
