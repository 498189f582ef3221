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
use super::guest::{Guest, Terms};
use super::instance::Instance;

/// Instances that nobody uses. Behind pointers, since they are moved in and out for each call.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<Box<Instance>>>);

impl Idle {
    // A panic leaves a list of whole instances.
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Box<Instance>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has instances, and who waits for one.
#[derive(Default)]
pub(super) struct Capacity {
    /// Instances that exist.
    places: AtomicUsize,
    /// Calls that wait for a place.
    waiting: AtomicUsize,
    freed: Notify,
    idle: Mutex<Vec<Weak<Idle>>>,
}

/// An instance's place. Dropped after the instance's own memory, it is free for others.
pub(super) struct Place(Arc<Capacity>);

/// A call that waits.
struct Waiting<'a>(&'a AtomicUsize);

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
    pub(super) async fn instance(self: &Arc<Self>, prepared: &Prepared, terms: &Arc<Terms>) -> Result<Instance> {
        let mut waiting = None;
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on no notice is missed; the attempt that follows sees all that was freed before.
            freed.as_mut().enable();
            let error = match Instance::new(prepared, Guest::new(Arc::clone(terms))).await {
                Ok(instance) => return Ok(instance.at(self.place())),
                Err(error) if lacks_place(&error) => error,
                Err(error) => return Err(error),
            };
            if self.give_up_one() {
                continue;
            }
            if waiting.is_none() {
                waiting = Some(Waiting::new(&self.waiting));
            } else if self.places.load(Ordering::SeqCst) == 0 {
                // Nobody has an instance that could be given up, so waiting is no use.
                return Err(error);
            } else {
                freed.await;
            }
        }
    }

    fn place(self: &Arc<Self>) -> Place {
        self.places.fetch_add(1, Ordering::SeqCst);
        Place(Arc::clone(self))
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

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.fetch_sub(1, Ordering::SeqCst);
        if self.0.is_wanted() {
            // All of them, since what is too little for one may be enough for another.
            self.0.freed.notify_waiters();
        }
    }
}

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
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
