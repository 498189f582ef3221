//! The limit on instances that all plugins share. Above it, calls wait for instances of other calls.
//!
//! A plugin keeps its unused instances. If another plugin needs a place, an unused instance is evicted. If all
//! instances are in use, a call waits until one is dropped, within the call's wall time.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::Notify;
use wasmtime::{PoolConcurrencyLimitError, Result};

use super::exports::Prepared;
use super::guest::{Guest, GuestContext};
use super::instance::Instance;
use super::pool::InstanceWait;
use crate::counts::Limit;

/// Boxed, because every call moves an instance out of the list and back.
type Instances = Vec<Box<Instance>>;

/// The unused instances of one pool. Calls on any thread take from the list and add to it, so it needs a lock.
#[derive(Default)]
pub(super) struct Idle(Mutex<Instances>);

impl Idle {
    // No panic can leave the data half changed, so a poisoned lock is used like any other.
    pub(super) fn lock(&self) -> MutexGuard<'_, Instances> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the instances of all plugins, and the calls that wait for one.
///
/// All operations on the counters are `SeqCst`, because the arguments below compare the order of operations on
/// different counters.
#[derive(Default)]
pub(super) struct Capacity {
    /// The number of instances that exist.
    places: AtomicUsize,
    /// The number of instances that are being created. Each may already occupy a place that other calls lack.
    making: AtomicUsize,
    /// The number of times that an instance was dropped or its creation failed. It is incremented before `places` or
    /// `making` is decremented. So a call that sees no instance also sees that there was one.
    releases: AtomicUsize,
    /// The number of calls that wait for a place.
    waiting: AtomicUsize,
    /// Wakes the waiting calls when a place may be free.
    freed: Notify,
    /// The unused instances of all pools. The lock is held only to read or change the list, never while an instance
    /// is dropped.
    idle: Mutex<Vec<Weak<Idle>>>,
}

/// An instance's place. It is dropped after the instance's memory, and frees the place for other calls.
pub(super) struct CapacityPermit(Arc<Capacity>);

/// An instance that is being created.
struct Making<'a> {
    capacity: &'a Capacity,
    /// Whether dropping this frees a place that other calls may use.
    frees: bool,
}

/// A call that waits for a place.
struct WaitCount<'a>(&'a AtomicUsize);

impl Capacity {
    /// Adds a pool's unused instances to those that may be evicted for other plugins.
    pub(super) fn share(&self, idle: &Arc<Idle>) {
        let mut all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|idle| idle.strong_count() > 0);
        all.push(Arc::downgrade(idle));
    }

    /// Returns whether a call waits for a place. The caller must hold the lock of a list of unused instances. A
    /// waiting call first increments `waiting`, and then searches the lists under their locks. So either the waiting
    /// call finds an instance that the caller has added, or the caller sees the waiting call.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Creates an instance. Waits if there is no place for it.
    pub(super) async fn instance(
        self: &Arc<Self>,
        prepared: &Prepared,
        context: &Arc<GuestContext>,
    ) -> Result<Instance> {
        let mut waiting = None;
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on no notification is missed. The following attempt sees every place that was freed before.
            freed.as_mut().enable();
            let releases = self.releases.load(Ordering::SeqCst);
            let error = match self.try_instance(prepared, context).await {
                Ok(instance) => return Ok(instance),
                Err(error) if lacks_place(&error) => error,
                Err(error) => return Err(error),
            };
            if self.give_up_one() {
                continue;
            }
            if waiting.is_none() {
                Limit::Instances.hit();
                let wait = InstanceWait { usage: &context.usage, began: Instant::now() };
                waiting = Some((WaitCount::new(&self.waiting), wait));
            } else if self.has_none() && self.releases.load(Ordering::SeqCst) == releases {
                // There is no instance to evict, and there was none during the attempt, so waiting is useless. The
                // other waiting calls are woken, so that they find this out too.
                self.freed.notify_waiters();
                return Err(error);
            } else {
                freed.await;
            }
        }
    }

    /// Creates an instance if there is a place for it.
    pub(super) async fn try_instance(
        self: &Arc<Self>,
        prepared: &Prepared,
        context: &Arc<GuestContext>,
    ) -> Result<Instance> {
        let mut making = Making::new(self);
        let made = Instance::new(prepared, Guest::new(Arc::clone(context))).await.map(|made| made.at(self.place()));
        // An attempt that failed for want of a place occupied none, so it must not wake other calls: waiting calls would
        // wake each other forever.
        making.frees = made.as_ref().is_err_and(|error| !lacks_place(error));
        made
    }

    /// Returns whether there is no instance. `making` is read first: a new instance is counted in `places` before it
    /// is removed from `making`, so it can't be missed.
    fn has_none(&self) -> bool {
        self.making.load(Ordering::SeqCst) == 0 && self.places.load(Ordering::SeqCst) == 0
    }

    /// Decrements a counter, and wakes all waiting calls. All are woken, because the free place may be too small for
    /// one call and large enough for another.
    fn release(&self, count: &AtomicUsize) {
        self.releases.fetch_add(1, Ordering::SeqCst);
        count.fetch_sub(1, Ordering::SeqCst);
        if self.is_wanted() {
            self.freed.notify_waiters();
        }
    }

    fn place(self: &Arc<Self>) -> CapacityPermit {
        self.places.fetch_add(1, Ordering::SeqCst);
        CapacityPermit(Arc::clone(self))
    }

    /// Drops an unused instance of the plugin that has the most of them. Returns whether there was one.
    fn give_up_one(&self) -> bool {
        let lists: Vec<Arc<Idle>> = {
            let all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        let most = lists.iter().max_by_key(|list| list.lock().len());
        // The lock is released before the instance is dropped, because dropping an instance takes time.
        let instance = most.and_then(|list| list.lock().pop());
        instance.is_some()
    }
}

impl Drop for CapacityPermit {
    fn drop(&mut self) {
        self.0.release(&self.0.places);
    }
}

impl<'a> Making<'a> {
    fn new(capacity: &'a Capacity) -> Self {
        capacity.making.fetch_add(1, Ordering::SeqCst);
        Self { capacity, frees: true }
    }
}

/// Also runs if the future is dropped while it creates an instance.
impl Drop for Making<'_> {
    fn drop(&mut self) {
        if self.frees {
            self.capacity.release(&self.capacity.making);
        } else {
            self.capacity.making.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl<'a> WaitCount<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for WaitCount<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether the creation failed because other instances occupy all places of the pool, or the address space.
pub(super) fn lacks_place(error: &wasmtime::Error) -> bool {
    error.is::<PoolConcurrencyLimitError>()
        || error.chain().any(|cause| {
            cause.downcast_ref::<rustix::io::Errno>().is_some_and(|errno| *errno == rustix::io::Errno::NOMEM)
        })
}
