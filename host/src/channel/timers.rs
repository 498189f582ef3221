//! A member's timers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;
use tokio::task::AbortHandle;

use super::{Channel, MemberEvent};
use crate::contract::TimerId;
use crate::protocol::Payload;

/// The timers of a member that haven't been handled: still running, or waiting in the line.
#[derive(Default)]
pub(super) struct Timers {
    under_way: Vec<Timer>,
    next: TimerId,
}

struct Timer {
    id: TimerId,
    event: ByteString,
    payload: Payload,
    task: AbortHandle,
}

impl Timers {
    pub(super) fn ids(&self) -> Vec<TimerId> {
        self.under_way.iter().map(|timer| timer.id).collect()
    }

    /// Bytes of what they carry.
    pub(super) fn bytes(&self) -> usize {
        self.under_way.iter().map(|timer| timer.event.len() + timer.payload.len()).sum()
    }

    /// The number that the next timer gets.
    pub(super) fn next(&self) -> TimerId {
        self.next
    }

    /// Starts a timer of `channel`. The channel isn't kept alive by it.
    pub(super) fn start(
        &mut self,
        channel: &Arc<Channel>,
        id: TimerId,
        after: Duration,
        (event, payload): (ByteString, Payload),
    ) {
        let clock = tokio::spawn(fire(Arc::downgrade(channel), after, id)).abort_handle();
        self.next = self.next.max(id + 1);
        self.under_way.push(Timer { id, event, payload, task: clock });
    }

    /// Takes a timer back, also one that has rung and waits in the line.
    pub(super) fn cancel(&mut self, id: TimerId) {
        drop(self.take(id));
    }

    /// What a timer that has rung carries, unless it was cancelled.
    pub(super) fn take(&mut self, id: TimerId) -> Option<(ByteString, Payload)> {
        let at = self.under_way.iter().position(|timer| timer.id == id)?;
        let timer = self.under_way.swap_remove(at);
        timer.task.abort();
        Some((timer.event, timer.payload))
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        for timer in &self.under_way {
            timer.task.abort();
        }
    }
}

async fn fire(channel: Weak<Channel>, after: Duration, id: TimerId) {
    tokio::time::sleep(after).await;
    if let Some(channel) = channel.upgrade() {
        channel.post(MemberEvent::Timer(id));
    }
}
