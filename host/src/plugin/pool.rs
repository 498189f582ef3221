//! The pool of instances of one generation of a plugin. Instances are reused, and dropped after any error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::backtrace::fault_of;
use super::capacity::{Capacity, Idle};
use super::epoch::EpochTicker;
use super::exports::Prepared;
use super::guest::{CallDiagnostics, GuestContext, Origin};
use super::instance::Instance;
use crate::contract::Fault;
use crate::store::Draft;

/// The number of instances of a plugin, and how long each is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// The maximum number of instances at once. Above it, calls wait until their wall time is over.
    pub instances: usize,
    /// The number of calls after which an instance is replaced, because guests in some languages never free memory.
    pub calls_per_instance: u32,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { instances: 32, calls_per_instance: 100_000 }
    }
}

impl PoolLimits {
    /// How many calls may wait for an answer from outside the host. Each keeps its instance meanwhile, and the others must be
    /// free for calls that don't wait.
    pub(super) fn waiting(self) -> usize {
        (self.instances / 4).max(1)
    }
}

/// An instance is replaced after a call if its memory has grown by more than `1 / GROWN_SHARE` of what the limit
/// allows.
const GROWN_SHARE: usize = 4;

/// A bounded set of instances.
pub(super) struct Pool {
    prepared: Prepared,
    context: Arc<GuestContext>,
    limits: PoolLimits,
    free: Semaphore,
    /// The unused instances. If another plugin needs a place, one of them may be evicted.
    idle: Arc<Idle>,
    capacity: Arc<Capacity>,
    /// Interrupts the evaluation of a script in a spare instance.
    ticker: Arc<EpochTicker>,
    /// Whether a spare instance is being made.
    is_sparing: Arc<AtomicBool>,
}

/// An instance taken from the pool. Dropping it drops the instance; only [`Borrowed::settle`] returns the instance to
/// the pool.
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
        ticker: Arc<EpochTicker>,
    ) -> Self {
        let (free, idle) = (Semaphore::new(limits.instances), Arc::default());
        capacity.share(&idle);
        Self { prepared, context, limits, free, idle, capacity, ticker, is_sparing: Arc::default() }
    }

    /// After a fault of a script, makes an unused instance in a task. A new instance has to evaluate the script, and the next
    /// call should not wait for that.
    fn make_spare(&self) {
        if self.context.script.is_none() || self.is_sparing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (prepared, context, wall) = (self.prepared.clone(), Arc::clone(&self.context), self.context.limits.wall);
        let (capacity, ticker) = (Arc::clone(&self.capacity), Arc::clone(&self.ticker));
        let (idle, is_sparing) = (Arc::downgrade(&self.idle), Arc::clone(&self.is_sparing));
        tokio::spawn(async move {
            let making = capacity.instance(&prepared, &context);
            let made = timeout(wall, ticker.signal().keep(making)).await;
            is_sparing.store(false, Ordering::Release);
            let (Ok(Ok(instance)), Some(idle)) = (made, idle.upgrade()) else { return };
            let mut idle = idle.lock();
            if idle.is_empty() && !capacity.is_wanted() {
                idle.push(Box::new(instance));
            }
        });
    }

    /// Returns the plugin that the instances belong to.
    pub(super) fn origin(&self) -> &Origin {
        &self.context.origin
    }

    /// Whether calls of the plugin may wait for answers by HTTP.
    pub(super) fn has_http(&self) -> bool {
        !self.context.access.is_empty()
    }

    /// Whether nothing that a draft has read was changed meanwhile.
    pub(super) fn is_current(&self, draft: &Draft) -> bool {
        self.context.store.is_current(draft)
    }

    /// Whether the plugin can upgrade states that another version wrote.
    pub(super) fn upgrades(&self) -> bool {
        self.prepared.has_upgrade()
    }

    /// Whether the plugin can upgrade entries that another version wrote.
    pub(super) fn upgrades_entries(&self) -> bool {
        self.prepared.has_upgrade_entry()
    }

    /// Takes an unused instance, if there is one and no other call waits for an instance.
    pub(super) fn take_idle(&self) -> Option<Borrowed<'_>> {
        let permit = self.free.try_acquire().ok()?;
        let instance = self.idle.lock().pop()?;
        Some(Borrowed { instance, pool: self, _permit: permit })
    }

    /// Takes an unused instance, or creates one. Waits while all instances of the plugin are in use.
    pub(super) async fn take(&self) -> Result<Borrowed<'_>, Fault> {
        // Nothing closes this semaphore. If that ever changes, the call fails with a fault that says so.
        let closed = |_| Fault::failed("a fault of the host: the pool of instances is closed");
        let permit = self.free.acquire().await.map_err(closed)?;
        let idle = self.idle.lock().pop();
        let instance = match idle {
            Some(instance) => instance,
            // Boxed, because few calls create an instance, and the common future should stay small.
            None => Box::pin(self.instantiate()).await?,
        };
        Ok(Borrowed { instance, pool: self, _permit: permit })
    }

    async fn instantiate(&self) -> Result<Box<Instance>, Fault> {
        let made = self.capacity.instance(&self.prepared, &self.context).await;
        made.map(Box::new).map_err(|error| {
            let fault = fault_of(&error, CallDiagnostics::default());
            Fault::new(fault.kind, format!("the plugin could not be instantiated: {}", fault.detail))
        })
    }
}

impl Borrowed<'_> {
    /// Returns the instance to the pool if the call succeeded, and drops it otherwise.
    pub(super) fn settle<T>(self, result: wasmtime::Result<T>) -> Result<T, Fault> {
        let Self { mut instance, pool, _permit } = self;
        match result {
            Ok(value) => {
                instance.guest_mut().log_rest();
                if !instance.has_grown(GROWN_SHARE) && instance.calls < pool.limits.calls_per_instance {
                    // `is_wanted` must be read under this lock: see `Capacity::is_wanted`.
                    let mut idle = pool.idle.lock();
                    if !pool.capacity.is_wanted() {
                        idle.push(instance);
                    }
                }
                Ok(value)
            }
            Err(error) => {
                pool.make_spare();
                Err(fault_of(&error, instance.guest_mut().take_diagnostics()))
            }
        }
    }
}
