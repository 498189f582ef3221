//! Work that a turn leaves to be done after its end, on the same thread.
//!
//! An example is the decision about an intercepted broadcast. The broadcast is made in the middle of a turn, and the
//! decision may need the locks that the turn holds. A task for each such decision would cost more than most of the
//! decisions. It would also push its frames from another thread, one at a time, so that they leave in more writes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::task::{Context, Waker};

use futures_util::future::BoxFuture;

/// Polls `work` once. Returns it if it is still pending.
#[must_use = "the pending work must be run to its end"]
pub fn poll_once(mut work: BoxFuture<'static, ()>) -> Option<BoxFuture<'static, ()>> {
    // A waker that does nothing loses no wakeup: the caller spawns or awaits the pending work, which polls it at least
    // once more.
    work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending().then_some(work)
}

thread_local! {
    /// The work that this thread has deferred; `None` while no [`AfterTurn`] exists on the thread.
    static HERE: RefCell<Option<VecDeque<BoxFuture<'static, ()>>>> = const { RefCell::new(None) };
}

/// Collects the work that its thread defers, until [`run`](Self::run) runs that work.
pub struct AfterTurn {
    /// Values may be nested on one thread. Only the outermost one runs the work.
    is_outermost: bool,
    /// Keeps the value on its thread, because the collected work is stored there.
    _here: PhantomData<*const ()>,
}

impl AfterTurn {
    /// Starts to collect the work that this thread defers.
    #[must_use = "work is collected only until this is dropped"]
    pub fn here() -> Self {
        let is_outermost = HERE.with_borrow_mut(|here| here.is_none().then(|| *here = Some(VecDeque::new())).is_some());
        Self { is_outermost, _here: PhantomData }
    }

    /// Runs the collected work: polls each future once, and spawns a task for it if it is still pending. Must not be
    /// called under a lock, because the work may need that lock.
    pub fn run(&self) {
        if !self.is_outermost {
            return;
        }
        while let Some(work) = HERE.with_borrow_mut(|here| here.as_mut().and_then(VecDeque::pop_front)) {
            if let Some(rest) = poll_once(work) {
                tokio::spawn(rest);
            }
        }
    }
}

impl Drop for AfterTurn {
    fn drop(&mut self) {
        if self.is_outermost {
            // Work is left only after a panic. Otherwise `run` has run all of it.
            HERE.take().into_iter().flatten().for_each(|work| drop(tokio::spawn(work)));
        }
    }
}

/// Runs `work` soon: after the current turn of this thread, or in a task if no [`AfterTurn`] exists on it.
pub(super) fn defer(work: impl Future<Output = ()> + Send + 'static) {
    let work = HERE.with_borrow_mut(|here| match here {
        Some(after_turn) => {
            after_turn.push_back(Box::pin(work));
            None
        }
        None => Some(work),
    });
    if let Some(work) = work {
        tokio::spawn(work);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn deferred_work_runs_after_the_turn_and_becomes_a_task_if_it_is_pending() {
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let notify = Arc::new(Notify::new());
        let after_turn = AfterTurn::here();
        let inner = AfterTurn::here();
        for number in [1, 2] {
            let (said, notify) = (said.clone(), Arc::clone(&notify));
            defer(async move {
                if number == 1 {
                    notify.notified().await;
                }
                let _ = said.send(number);
            });
        }
        inner.run();
        drop(inner);
        assert!(heard.try_recv().is_err(), "only the outermost value runs the work");
        after_turn.run();
        assert_eq!((heard.try_recv(), heard.try_recv().is_err()), (Ok(2), true));
        notify.notify_one();
        assert_eq!(heard.recv().await, Some(1));
        drop(after_turn);
        defer(async move { said.send(3).unwrap_or_default() });
        assert!(heard.try_recv().is_err());
        assert_eq!(heard.recv().await, Some(3));
    }
}
