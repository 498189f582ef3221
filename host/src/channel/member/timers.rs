//! The timers of a member.

use bytestring::ByteString;
use tokio::task::{AbortHandle, JoinHandle};

use crate::contract::TimerId;
use crate::protocol::Payload;

/// The timers of a member that it hasn't handled: they are running, or wait in its queue.
#[derive(Default)]
pub(in crate::channel::member) struct Timers {
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
    pub(in crate::channel::member) fn ids(&self) -> Vec<TimerId> {
        self.under_way.iter().map(|timer| timer.id).collect()
    }

    /// The bytes of their events and payloads.
    pub(in crate::channel::member) fn bytes(&self) -> usize {
        self.under_way.iter().map(|timer| timer.event.len() + timer.payload.len()).sum()
    }

    /// The number of the next timer.
    pub(in crate::channel::member) fn next(&self) -> TimerId {
        self.next
    }

    /// Adds a timer with the next number, as the record has numbered it. `start` starts the task that waits for it to
    /// fire.
    pub(in crate::channel::member) fn add(
        &mut self,
        event: ByteString,
        payload: Payload,
        start: impl FnOnce(TimerId) -> JoinHandle<()>,
    ) {
        let id = self.next;
        self.next += 1;
        self.under_way.push(Timer { id, event, payload, task: start(id).abort_handle() });
    }

    /// Cancels a timer, also one that has fired and waits in the queue.
    pub(in crate::channel::member) fn cancel(&mut self, id: TimerId) {
        drop(self.take(id));
    }

    /// The event and payload of a timer that has fired, unless it was cancelled.
    pub(in crate::channel::member) fn take(&mut self, id: TimerId) -> Option<(ByteString, Payload)> {
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
