//! A line of turns: what waits for a member, or for all members of a topic, taken one after another.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use futures_util::FutureExt;

use super::lines::Place;
use super::{Channel, Entry};

/// A queue of entries, worked through by at most one task. Its length is bounded by the counts that each channel keeps of
/// its own entries.
#[derive(Default)]
pub(super) struct Line {
    inner: Mutex<Inner>,
    /// Where it is known, if it is a topic's.
    _place: Option<Place>,
}

#[derive(Default)]
struct Inner {
    entries: VecDeque<(Arc<Channel>, Entry)>,
    draining: bool,
}

impl Line {
    /// The line of a topic.
    pub(super) fn placed(place: Place) -> Self {
        Self { inner: Mutex::default(), _place: Some(place) }
    }

    /// Adds an entry. Gives the work of draining the line if nobody is at it.
    pub(super) fn post(self: &Arc<Self>, channel: Arc<Channel>, entry: Entry) -> Option<Drain> {
        let mut inner = self.lock();
        inner.entries.push_back((channel, entry));
        if std::mem::replace(&mut inner.draining, true) { None } else { Some(Drain(Arc::clone(self))) }
    }

    /// The next entry, or none, and then nobody is draining any more.
    fn next(&self) -> Option<(Arc<Channel>, Entry)> {
        let mut inner = self.lock();
        let next = inner.entries.pop_front();
        inner.draining = next.is_some();
        if next.is_none() {
            // An idle channel keeps no room for a queue.
            inner.entries = VecDeque::new();
        }
        next
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The work of draining a line. Who gets it must do it, here or in a task of its own.
#[must_use = "a line that isn't drained stands still for ever"]
pub struct Drain(Arc<Line>);

impl Drain {
    /// Drains in a task of its own.
    pub fn spawn(self) {
        tokio::spawn(self.run());
    }

    /// Drains here for as long as nothing has to wait, and from then on in a task of its own. Most turns wait for
    /// nothing, and a task for each would cost more than the turn.
    ///
    /// Don't call it from within a turn: turns would nest.
    pub fn run_here(self) {
        let mut work: Pin<Box<_>> = Box::pin(self.run());
        // The waker may be lost: a spawned task is polled at least once.
        if work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(work);
        }
    }

    async fn run(self) {
        while let Some((channel, entry)) = self.0.next() {
            channel.count_down(&entry);
            // A panic must not leave the line standing still.
            if AssertUnwindSafe(channel.turn(entry)).catch_unwind().await.is_err() {
                channel.panicked();
            }
            channel.count_out();
        }
    }
}
