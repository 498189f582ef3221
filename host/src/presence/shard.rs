//! A part of the topics: their set, their windows, and the lock that keeps their diffs in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::window::Windows;
use super::{Change, Diff, Diffs, Offer, Pace, PresenceError, Replica, State};
use crate::protocol::{Payload, Topic};
use crate::pubsub::{Broadcast, Except, PubSub};

/// The event of a diff.
const DIFF_EVENT: &str = "presence_diff";

pub(super) struct Shard {
    pubsub: Arc<PubSub>,
    pace: Pace,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    windows: Windows,
}

impl Shard {
    pub(super) fn new(pubsub: Arc<PubSub>, own: Replica, pace: Pace) -> Self {
        Self { pubsub, pace, inner: Mutex::new(Inner { state: State::new(own), windows: Windows::new() }) }
    }

    /// Reads the state.
    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock().state)
    }

    /// Does something with a topic's encoded state, while no diff can go out.
    pub(super) fn show<T>(&self, topic: &Topic, show: impl FnOnce(Payload) -> T) -> T {
        let mut inner = self.lock();
        let payload = inner.state.payload(topic);
        show(payload)
    }

    /// Changes the state, and sends the diffs on their way, under one lock: so diffs keep the order of the operations.
    pub(super) fn change(
        self: &Arc<Self>,
        operation: impl FnOnce(&mut State) -> Result<Change, PresenceError>,
    ) -> Result<(), PresenceError> {
        let mut inner = self.lock();
        // The delta is for other nodes, and there are none yet.
        let Change { diffs, delta: _ } = operation(&mut inner.state)?;
        self.tell(&mut inner, diffs);
        Ok(())
    }

    fn tell(self: &Arc<Self>, inner: &mut Inner, diffs: Diffs) {
        for (topic, diff) in diffs {
            match inner.windows.offer(&topic, diff, Instant::now().into_std(), &self.pace) {
                Offer::Send(diff) => self.broadcast(topic, &diff),
                Offer::Flush(at) => drop(tokio::spawn(flush(Arc::downgrade(self), topic, at.into()))),
                Offer::Wait => {}
            }
        }
    }

    fn broadcast(&self, topic: Topic, diff: &Diff) {
        self.pubsub.broadcast(Broadcast {
            topic,
            event: DIFF_EVENT.into(),
            payload: diff.payload(),
            except: Except::Nobody,
        });
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a topic's window in its time. There is at most one such task for each topic.
async fn flush(shard: Weak<Shard>, topic: Topic, at: Instant) {
    tokio::time::sleep_until(at).await;
    if let Some(shard) = shard.upgrade() {
        // What changes meanwhile joins the diff that waits, so nothing piles up behind it.
        shard.pubsub.pressure.hold_back().await;
        let mut inner = shard.lock();
        if let Some(diff) = inner.windows.flush(&topic, Instant::now().into_std(), &shard.pace) {
            shard.broadcast(topic, &diff);
        }
    }
}
