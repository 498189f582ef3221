//! The pool of instances of one generation of a plugin. Instances are reused, and dropped after any error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::backtrace::fault_of;
use super::call_kind::CallKind;
use super::capacity::{Capacity, Idle, lacks_place};
use super::epoch::EpochTicker;
use super::exports::Prepared;
use super::guest::{CallDiagnostics, GuestContext, Origin};
use super::instance::Instance;
use super::repeat::outside;
use super::usage::GenerationUsage;
use crate::contract::{Fault, FaultKind};
use crate::counts::Limit;
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
    pub(super) usage: Arc<GenerationUsage>,
    /// Whether an unused instance is kept ready. It isn't if calls are run twice: their first runs should all be on the same
    /// instance.
    has_spare: bool,
    limits: PoolLimits,
    free: Arc<Semaphore>,
    /// The unused instances. If another plugin needs a place, one of them may be evicted.
    idle: Arc<Idle>,
    capacity: Arc<Capacity>,
    /// Interrupts the evaluation of a script in a spare instance.
    ticker: Arc<EpochTicker>,
    /// Whether a spare instance is being made.
    is_sparing: Arc<AtomicBool>,
}

/// The number of unused instances up to which a spare one is added to them. With one unused instance, each call that follows
/// on another takes it, and none makes a further spare.
const SPARE_BELOW: usize = 2;

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
        let (free, idle) = (Arc::new(Semaphore::new(limits.instances)), Arc::default());
        capacity.share(&idle);
        context.usage.set_idle(&idle);
        let usage = Arc::clone(&context.usage);
        let has_spare = context.script.is_some() && !context.repeats_calls;
        Self { prepared, context, usage, has_spare, limits, free, idle, capacity, ticker, is_sparing: Arc::default() }
    }

    /// Makes an unused instance of a script in a task. A new instance has to evaluate the script, and the next call should
    /// not wait for that.
    fn make_spare(&self) {
        if self.usage.instances() >= self.limits.instances || self.capacity.is_wanted() {
            return;
        }
        // While the spare is made, it counts as a call that has an instance. So there is never one too many.
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else { return };
        if self.is_sparing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (prepared, context, wall) = (self.prepared.clone(), Arc::clone(&self.context), self.context.limits.wall);
        let (capacity, ticker) = (Arc::clone(&self.capacity), Arc::clone(&self.ticker));
        let (idle, is_sparing) = (Arc::downgrade(&self.idle), Arc::clone(&self.is_sparing));
        tokio::spawn(async move {
            let making = capacity.try_instance(&prepared, &context);
            let made = timeout(wall, ticker.signal().keep(making)).await;
            is_sparing.store(false, Ordering::Release);
            let (Ok(Ok(instance)), Some(idle)) = (made, idle.upgrade()) else { return };
            let mut idle = idle.lock();
            if idle.len() < SPARE_BELOW && !capacity.is_wanted() {
                idle.push(Box::new(instance));
            }
            drop(idle);
            // A call that waits for the permit takes the spare.
            drop(permit);
        });
    }

    /// Counts a call that has failed, and replaces its instance.
    fn count_failed(&self, kind: CallKind) {
        let idle = self.idle.lock();
        self.usage.count_call(kind);
        let is_last = idle.is_empty();
        drop(idle);
        if is_last && self.has_spare {
            self.make_spare();
        }
    }

    /// Adds an instance of a script that the load has made and evaluated.
    pub(super) fn adopt(&self, mut instance: Instance) {
        instance.guest_mut().context = Arc::clone(&self.context);
        self.idle.lock().push(Box::new(instance));
    }

    /// The wall time of a call.
    pub(super) fn wall(&self) -> Duration {
        self.context.limits.wall
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
    ///
    /// # Errors
    /// Fault: store, if the store can't be read.
    pub(super) async fn is_current(&self, draft: &Draft) -> Result<bool, Fault> {
        let current = self.context.store.is_current(draft).await;
        current.map_err(|error| Fault::new(FaultKind::Store, format!("the store can't be read: {error}")))
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
    pub(super) fn take_idle(&self, kind: CallKind) -> Option<Borrowed<'_>> {
        let permit = self.free.try_acquire().ok()?;
        let mut instance = self.pop_idle()?;
        instance.kind = kind;
        Some(Borrowed { instance, pool: self, _permit: permit })
    }

    /// Takes an unused instance, or creates one. Waits while all instances of the plugin are in use.
    pub(super) async fn take(&self, kind: CallKind) -> Result<Borrowed<'_>, Fault> {
        // Nothing closes this semaphore. If that ever changes, the call fails with a fault that says so.
        let closed = |_| Fault::of_host("the pool of instances is closed");
        let permit = match self.free.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                Limit::InstancesPerPlugin.hit();
                let _wait = InstanceWait { usage: &self.usage, began: Instant::now() };
                self.free.acquire().await.map_err(closed)?
            }
        };
        let mut instance = match self.pop_idle() {
            Some(instance) => instance,
            // Boxed, because few calls create an instance, and the common future should stay small.
            None => Box::pin(self.instantiate()).await?,
        };
        instance.kind = kind;
        Ok(Borrowed { instance, pool: self, _permit: permit })
    }

    fn pop_idle(&self) -> Option<Box<Instance>> {
        let mut idle = self.idle.lock();
        let instance = idle.pop();
        let is_last = idle.is_empty();
        drop(idle);
        if is_last && self.has_spare {
            self.make_spare();
        }
        instance
    }

    /// Creates an instance. The evaluation of a script takes milliseconds, so it runs in a task: this call may be polled on
    /// a thread that serves connections.
    async fn instantiate(&self) -> Result<Box<Instance>, Fault> {
        let making = making(Arc::clone(&self.capacity), self.prepared.clone(), Arc::clone(&self.context));
        let made = if self.context.script.is_some() {
            let ticker = Arc::clone(&self.ticker);
            // Dropping the set ends the task, so a call whose wall time is over leaves none behind.
            let mut task = JoinSet::new();
            task.spawn(async move { ticker.signal().keep(making).await });
            let ended = task.join_next().await.transpose();
            // A task is cancelled when the host stops.
            let ended = ended.map_err(|error| Fault::of_host(&error.to_string()))?;
            ended.ok_or_else(|| Fault::of_host("there is no task"))?
        } else {
            outside(making).await
        };
        made.map(Box::new).map_err(|error| {
            let fault = fault_of(&error, CallDiagnostics::default());
            let fault = fault.with_detail(format!("the plugin could not be instantiated: {}", fault.detail));
            if lacks_place(&error) { fault.caused_by_host() } else { fault }
        })
    }
}

/// A wait for an instance. It is counted when it ends, also if the call is dropped.
pub(super) struct InstanceWait<'a> {
    pub(super) usage: &'a GenerationUsage,
    pub(super) began: Instant,
}

impl Drop for InstanceWait<'_> {
    fn drop(&mut self) {
        self.usage.count_wait(self.began.elapsed());
    }
}

/// Creates an instance. Waits if there is no place for it.
async fn making(capacity: Arc<Capacity>, prepared: Prepared, context: Arc<GuestContext>) -> wasmtime::Result<Instance> {
    capacity.instance(&prepared, &context).await
}

impl Borrowed<'_> {
    /// Returns the instance to the pool if the call succeeded, and drops it otherwise.
    pub(super) fn settle<T>(self, result: wasmtime::Result<T>) -> Result<T, Fault> {
        let Self { mut instance, pool, _permit } = self;
        match result {
            Ok(value) => {
                instance.guest_mut().log_rest();
                let is_worn = instance.calls >= pool.limits.calls_per_instance;
                if is_worn {
                    Limit::CallsPerInstance.hit();
                }
                let is_reused = !is_worn && !instance.has_grown(GROWN_SHARE);
                // `is_wanted` must be read under this lock: see `Capacity::is_wanted`.
                let mut idle = pool.idle.lock();
                pool.usage.count_call(instance.kind);
                if is_reused && !pool.capacity.is_wanted() {
                    idle.push(instance);
                }
                Ok(value)
            }
            Err(error) => {
                let fault = fault_of(&error, instance.guest_mut().take_diagnostics());
                let kind = instance.kind;
                drop(instance);
                if !fault.is_outdated() {
                    pool.count_failed(kind);
                }
                Err(fault)
            }
        }
    }
}
