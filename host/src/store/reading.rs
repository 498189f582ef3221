//! Reads that never block a thread that serves other clients.
//!
//! A read is first tried on the calling thread. It is given up as soon as it needs a page that isn't in memory, and is then
//! repeated on a thread that may block. So a read from memory needs no change of threads, and a read from a slow disk blocks
//! neither a reactor nor a worker thread of tokio.
//!
//! To give up a read, the database's file unwinds the stack to [`tried`]. The file can't return an error instead: redb
//! takes every error of its file for a broken disk, and doesn't use the file any more. Unwinding is sound here. While a read
//! transaction asks its file for a page, it holds only the shared side of a lock, and unwinding doesn't poison that. Nothing
//! is printed, because `resume_unwind` doesn't call the panic hook.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::engine::EngineError;
use crate::counts::Limit;

thread_local! {
    /// Whether this thread is inside [`tried`], so that a read must not block.
    static IS_TRIED: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread does only the store's work, so that its reads may block.
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// The payload that unwinds the stack of a read that is given up.
struct WouldWait;

/// The most reads that wait for the disk at the same time. Further reads wait for a permit. So slow reads take only some of
/// tokio's 512 blocking threads, which other work needs too. The number of reads that wait for a permit is bounded by the
/// number of turns: one for each topic or channel.
const WAITING_MAX: usize = 32;

/// Limits the reads that wait for the disk. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readers {
    places: Arc<Semaphore>,
}

/// Lets reads on this thread block from now on. For a thread that does only the store's work.
pub(super) fn wait_here() {
    MAY_WAIT.set(true);
}

/// Whether a read on this thread may wait for the disk now.
pub(super) fn may_wait() -> bool {
    !IS_TRIED.get()
}

/// Gives up the read that is tried on this thread.
pub(super) fn give_up() -> ! {
    resume_unwind(Box::new(WouldWait))
}

/// Runs a read, and returns none if it would have to wait for the disk.
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

    /// Reads on this thread, if the read doesn't have to wait for the disk or the thread may block. Otherwise returns none.
    pub(super) fn at_once<T>(&self, read: impl Fn() -> T) -> Option<T> {
        if MAY_WAIT.get() {
            return Some(read());
        }
        // Without a runtime there are no blocking threads, and this thread serves no clients. So it may block.
        tried(&read).or_else(|| Handle::try_current().is_err().then(read))
    }

    /// Reads on a thread that may block. Dropping the future doesn't cancel the read.
    ///
    /// # Errors
    /// Those of the read, and if the read panics or the runtime is shut down.
    pub(super) async fn elsewhere<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        if self.places.available_permits() == 0 {
            Limit::StoreReadsAtOnce.hit();
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(EngineError::new)?;
        // The read holds the permit until it ends, even if its caller stops waiting: its thread is in use until then.
        let reading = tokio::task::spawn_blocking(move || {
            let read = read();
            drop(place);
            read
        });
        reading.await.unwrap_or_else(|error| {
            let why =
                if error.is_panic() { "it panicked; this is a fault of the host" } else { "the host is stopping" };
            Err(EngineError::new(format!("a read didn't finish: {why}")))
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
        assert!(may_wait(), "the read has been given up");
        let panicked = catch_unwind(|| tried(|| -> u8 { resume_unwind(Box::new("a fault")) }));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"a fault"));
        assert!(may_wait());
    }
}
