//! What a turn leaves to be done once it is over, on the thread that it ran on.
//!
//! A deferred broadcast is made in the middle of a turn, whose locks it may want itself. A task for each would cost more than
//! most of what it does; and what it sends would come from another thread, frame by frame, and leave in more writes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::task::{Context, Waker};

use futures_util::future::BoxFuture;

/// Does something as far as it needn't wait, and gives the rest.
#[must_use = "the rest is to be done, too"]
pub fn poll_once(mut work: BoxFuture<'static, ()>) -> Option<BoxFuture<'static, ()>> {
    // The waker may be lost: what is spawned or awaited is polled at least once more.
    work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending().then_some(work)
}

thread_local! {
    /// What is to be done here, while somebody sees to it.
    static HERE: RefCell<Option<VecDeque<BoxFuture<'static, ()>>>> = const { RefCell::new(None) };
}

/// Has errands of this thread wait for [`run`](Self::run), for as long as it lives.
pub struct AfterTurn {
    is_outermost: bool,
    /// It is about one thread.
    _here: PhantomData<*const ()>,
}

impl AfterTurn {
    /// From now on this thread's wait.
    #[must_use = "once this is dropped they don't wait any more"]
    pub fn here() -> Self {
        let is_outermost = HERE.with_borrow_mut(|here| here.is_none().then(|| *here = Some(VecDeque::new())).is_some());
        Self { is_outermost, _here: PhantomData }
    }

    /// Does what there is to do, each as far as it needn't wait, and the rest in tasks. Not under a lock.
    pub fn run(&self) {
        if !self.is_outermost {
            return;
        }
        while let Some(errand) = HERE.with_borrow_mut(|here| here.as_mut().and_then(VecDeque::pop_front)) {
            if let Some(rest) = poll_once(errand) {
                tokio::spawn(rest);
            }
        }
    }
}

impl Drop for AfterTurn {
    fn drop(&mut self) {
        if self.is_outermost {
            // None is left but after a panic.
            HERE.take().into_iter().flatten().for_each(|errand| drop(tokio::spawn(errand)));
        }
    }
}

/// Has something done soon: once the turn at hand is over, or in a task.
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
    async fn errands_wait_for_the_end_of_the_turn_and_those_that_have_to_wait_become_tasks() {
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
        assert!(heard.try_recv().is_err(), "the outermost sees to it");
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
