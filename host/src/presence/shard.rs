//! A shard: the presences of a part of the topics, their windows, and the lock that keeps their diffs in order.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::time::Instant;

use super::window::Windows;
use super::{Change, DeltaReceiver, Diff, Diffs, Offer, Pace, PresenceError, Replica, State};
use crate::counts::{Limit, Rare};
use crate::protocol::{Payload, Topic, event};
use crate::pubsub::{Broadcast, Except, PubSub};

pub(super) struct Shard {
    pubsub: Arc<PubSub>,
    own: Replica,
    /// Gets the writes of this node. None without a cluster.
    receiver: OnceLock<Arc<dyn DeltaReceiver>>,
    pace: Pace,
    /// One lock for the state and the windows. It is held while a diff is broadcast, so that diffs keep the order of the
    /// changes. A topic's audience and outboxes are locked under it.
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    windows: Windows,
}

impl Shard {
    pub(super) fn new(pubsub: Arc<PubSub>, own: Replica, pace: Pace) -> Self {
        let inner = Mutex::new(Inner { state: State::new(own.clone()), windows: Windows::new() });
        Self { pubsub, own, receiver: OnceLock::new(), pace, inner }
    }

    pub(super) fn set_receiver(&self, receiver: Arc<dyn DeltaReceiver>) {
        let _ = self.receiver.set(receiver);
    }

    /// Calls `read` with the state, under the lock.
    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock().state)
    }

    /// Calls `show` with the payload of a topic's `presence_state`, under the lock, so that no diff is sent in the
    /// meantime.
    pub(super) fn show<T>(&self, topic: &Topic, show: impl FnOnce(Payload) -> T) -> T {
        let mut inner = self.lock();
        let payload = inner.state.payload(topic);
        show(payload)
    }

    /// Changes the state, and sends the diffs or adds them to their windows. One lock covers both, so diffs keep the
    /// order of the operations.
    pub(super) fn change(
        self: &Arc<Self>,
        operation: impl FnOnce(&mut State) -> Result<Change, PresenceError>,
    ) -> Result<(), PresenceError> {
        let mut inner = self.lock();
        let Change { diffs, delta } = operation(&mut inner.state)?;
        if let Some(receiver) = self.receiver.get().filter(|_| !delta.is_empty()) {
            // Under the lock, so that the others get the writes in the order of their clocks.
            receiver.receive(&delta);
        }
        self.offer(&mut inner, diffs);
        Ok(())
    }

    /// Applies what another node has said, and sends the diffs to the members at this node.
    pub(super) fn follow<T>(self: &Arc<Self>, follow: impl FnOnce(&mut State) -> (Diffs, T)) -> T {
        let mut inner = self.lock();
        let (diffs, result) = follow(&mut inner.state);
        self.offer(&mut inner, diffs);
        result
    }

    /// Sends each diff, or leaves it in its topic's window and starts the task that flushes it.
    fn offer(self: &Arc<Self>, inner: &mut Inner, diffs: Diffs) {
        for (topic, diff) in diffs {
            match inner.windows.offer(&topic, diff, Instant::now().into_std(), &self.pace) {
                Offer::Send(diff) => self.broadcast(topic, &diff),
                Offer::Flush(at) => {
                    count_merged();
                    drop(tokio::spawn(flush(Arc::downgrade(self), topic, at.into())));
                }
                Offer::Wait => count_merged(),
            }
        }
    }

    /// Sends a diff to the members at this node. Every node does so for itself.
    fn broadcast(&self, topic: Topic, diff: &Diff) {
        let has_own = || diff.joins().chain(diff.leaves()).any(|entry| entry.replica == self.own);
        let is_from_elsewhere = self.receiver.get().is_some() && !has_own();
        let broadcast = Broadcast {
            topic,
            event: event::PRESENCE_DIFF.into(),
            payload: diff.payload(),
            except: Except::Nobody,
            droppable: None,
            number: None,
        };
        if is_from_elsewhere {
            self.pubsub.deliver_from_elsewhere(broadcast);
        } else {
            self.pubsub.deliver(broadcast);
        }
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a diff that is merged into the one that is sent at the end of the window.
fn count_merged() {
    Limit::PresenceBurst.hit();
    Rare::PresenceDiffsMerged.add(1);
}

/// Ends a topic's window at the given time. Each topic has at most one such task.
async fn flush(shard: Weak<Shard>, topic: Topic, at: Instant) {
    tokio::time::sleep_until(at).await;
    if let Some(shard) = shard.upgrade() {
        // Changes during this wait are merged into the waiting diff, so no more diffs accumulate.
        shard.pubsub.pressure.hold_back().await;
        let mut inner = shard.lock();
        if let Some(diff) = inner.windows.flush(&topic, Instant::now().into_std(), &shard.pace) {
            Limit::PresenceWindowMs.hit();
            shard.broadcast(topic, &diff);
        }
    }
}
