//! What the instances of all plugins share: so many exist at once, and calls past it wait for one another's.
//!
//! A plugin keeps instances that nobody uses. Where another plugin needs their place, one of them is given up; where all are at
//! work, a call waits until one ends, for as long as its wall time lasts.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use wasmtime::{PoolConcurrencyLimitError, Result};

use super::exports::Prepared;
use super::guest::{Guest, GuestContext};
use super::instance::Instance;

/// Behind pointers, since they are moved in and out for each call.
type Instances = Vec<Box<Instance>>;

/// Instances that nobody uses.
#[derive(Default)]
pub(super) struct Idle(Mutex<Instances>);

impl Idle {
    // A panic leaves a list of whole instances.
    pub(super) fn lock(&self) -> MutexGuard<'_, Instances> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has instances, and who waits for one.
#[derive(Default)]
pub(super) struct Capacity {
    /// Instances that exist.
    places: AtomicUsize,
    /// Instances that are being made. Each may already have what others lack.
    making: AtomicUsize,
    /// How often an instance was dropped, or its making has failed. It is counted before the instance isn't counted above any more,
    /// so whoever sees none sees that it was there.
    releases: AtomicUsize,
    /// Calls that wait for a place.
    waiting: AtomicUsize,
    freed: Notify,
    idle: Mutex<Vec<Weak<Idle>>>,
}

/// An instance's place. Dropped after the instance's own memory, it is free for others.
pub(super) struct CapacityPermit(Arc<Capacity>);

/// An instance that is being made.
struct Making<'a> {
    capacity: &'a Capacity,
    /// Whether others may have room once it is dropped.
    frees: bool,
}

/// A call that waits.
struct WaitCount<'a>(&'a AtomicUsize);

impl Capacity {
    /// Has the idle instances of a plugin given up where others need their place.
    pub(super) fn share(&self, idle: &Arc<Idle>) {
        let mut all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|idle| idle.strong_count() > 0);
        all.push(Arc::downgrade(idle));
    }

    /// Whether a call waits for a place. It has to be asked under the lock of a list of idle instances: who waits looks through
    /// the lists after it has said so, and so either sees an instance that was put there, or is seen.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Makes an instance, and waits for a place if there is none.
    pub(super) async fn instance(
        self: &Arc<Self>,
        prepared: &Prepared,
        context: &Arc<GuestContext>,
    ) -> Result<Instance> {
        let mut waiting = None;
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on no notice is missed; the attempt that follows sees all that was freed before.
            freed.as_mut().enable();
            let releases = self.releases.load(Ordering::SeqCst);
            let mut making = Making::new(self);
            let error = match Instance::new(prepared, Guest::new(Arc::clone(context))).await {
                Ok(instance) => {
                    let instance = instance.at(self.place());
                    making.frees = false;
                    return Ok(instance);
                }
                Err(error) if lacks_place(&error) => error,
                Err(error) => return Err(error),
            };
            // It had nothing. To wake others for that would have calls that wait wake each other for ever.
            making.frees = false;
            drop(making);
            if self.give_up_one() {
                continue;
            }
            if waiting.is_none() {
                waiting = Some(WaitCount::new(&self.waiting));
            } else if self.has_none() && self.releases.load(Ordering::SeqCst) == releases {
                // Nobody has an instance that could be given up, nor had one during the attempt, so waiting is no use. The others
                // that wait find out the same.
                self.freed.notify_waiters();
                return Err(error);
            } else {
                freed.await;
            }
        }
    }

    /// Whether there is no instance. What is being made is counted until it is an instance that exists, so it is looked at first.
    fn has_none(&self) -> bool {
        self.making.load(Ordering::SeqCst) == 0 && self.places.load(Ordering::SeqCst) == 0
    }

    /// Something was freed that others may lack. All of them are told, since what is too little for one may be enough for another.
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

    /// Drops an instance that nobody uses, of the plugin that has the most of them. Whether there was one.
    fn give_up_one(&self) -> bool {
        let lists: Vec<Arc<Idle>> = {
            let all = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        let most = lists.iter().max_by_key(|list| list.lock().len());
        // The lock is free again when the instance is dropped.
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

/// Also where the future is dropped while it makes an instance.
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

/// Whether an instance wasn't made since others have all that there is: the pool's places, or the address space.
fn lacks_place(error: &wasmtime::Error) -> bool {
    error.is::<PoolConcurrencyLimitError>()
        || error.chain().any(|cause| {
            cause.downcast_ref::<rustix::io::Errno>().is_some_and(|errno| *errno == rustix::io::Errno::NOMEM)
        })
}
