//! Reads that never make a thread wait that serves others.
//!
//! A read is first tried on the thread that asks, and it is given up as soon as it needs a page that isn't in memory. It is then
//! done anew on a thread that may wait. So a read from memory costs no change of threads, and a read from a slow disk costs
//! no thread that has other work, be it a reactor or one of tokio's workers.
//!
//! How it is given up: the database's file unwinds the stack, from inside [`tried`]'s closure back to [`tried`]. It can't return
//! an error instead, since redb takes every error of its file for a broken disk, and touches the file no more. Unwinding is
//! sound here, because a reading transaction holds nothing while it asks its file for a page but the shared side of a lock,
//! which isn't poisoned by that. Nothing is printed: `resume_unwind` doesn't call the panic hook.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::engine::EngineError;

thread_local! {
    /// Whether a read on this thread is tried, and so may not wait.
    static IS_TRIED: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread has no other work than the store's.
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// What unwinds the stack of a read that is given up.
struct WouldWait;

/// Reads that wait for the disk at the same time. Further ones wait for their turn, so that slow reads take only a part of
/// tokio's blocking threads (512), which others need as well. Who waits is bounded by the turns that wait: one for each topic
/// or channel.
const WAITING_MAX: usize = 32;

/// Where reads wait that aren't in memory. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readers {
    places: Arc<Semaphore>,
}

/// From now on reads on this thread wait in place: it has no other work.
pub(super) fn wait_here() {
    MAY_WAIT.set(true);
}

/// Whether the thread may wait for the disk now.
pub(super) fn may_wait() -> bool {
    !IS_TRIED.get()
}

/// Gives up the read that is tried on this thread.
pub(super) fn give_up() -> ! {
    resume_unwind(Box::new(WouldWait))
}

/// Reads, unless that would have to wait.
fn tried<T>(read: impl FnOnce() -> T) -> Option<T> {
    let before = IS_TRIED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(read));
    IS_TRIED.set(before);
    match done {
        Ok(read) => Some(read),
        Err(why) if is_would_wait(&*why) => None,
        Err(panic) => resume_unwind(panic),
    }
}

fn is_would_wait(why: &(dyn Any + Send)) -> bool {
    why.is::<WouldWait>()
}

impl Readers {
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    /// Reads here, if nothing has to be waited for, or nobody else is served by this thread.
    pub(super) fn at_once<T>(&self, read: impl Fn() -> T) -> Option<T> {
        if MAY_WAIT.get() {
            return Some(read());
        }
        // Without a runtime there is no other thread to go to, and nobody whom this one serves.
        tried(&read).or_else(|| Handle::try_current().is_err().then(read))
    }

    /// Reads on a thread that may wait. Whoever stops waiting for it doesn't stop it.
    pub(super) async fn elsewhere<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(EngineError::new)?;
        // The place is given back when the read is over, not when nobody waits for it any more.
        let reading = tokio::task::spawn_blocking(move || {
            let read = read();
            drop(place);
            read
        });
        reading.await.unwrap_or_else(|error| {
            let why =
                if error.is_panic() { "it panicked; this is a fault of the host" } else { "the host is stopping" };
            Err(EngineError::new(format!("a read was broken off: {why}")))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_would_wait_is_given_up_and_one_that_panics_is_not() {
        assert!(may_wait());
        assert_eq!(tried(|| (may_wait(), 1)), Some((false, 1)));
        assert_eq!(tried(|| -> u8 { give_up() }), None);
        assert!(may_wait(), "that is over");
        let panicked = catch_unwind(|| tried(|| -> u8 { resume_unwind(Box::new("a fault")) }));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"a fault"));
        assert!(may_wait());
    }
}
