//! What was heard and waits for the host, where the sender can't be held up. What waits has a bound, past which flushes are lost, and that
//! is told.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::bus::BusEvent;

/// The most bytes of flushes that wait: 64 MiB. The ring of a sender, from which it can repeat, has 16 MiB.
const BYTES_MAX: usize = 64 << 20;

/// What a flush counts for beside its bytes.
const FLUSH_COST: usize = 64;

/// A queue of events with a bound.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<BusEvent>,
    bytes: usize,
    /// Whether the connection is lost.
    is_lost: bool,
    /// Whether flushes are dropped until half of the room is free.
    is_full: bool,
}

impl State {
    /// Changes what prevents hearing, and tells the host if that makes a difference.
    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        let was_heard = !self.is_lost && !self.is_full;
        change(self);
        let is_heard = !self.is_lost && !self.is_full;
        if was_heard != is_heard {
            self.events.push_back(if is_heard { BusEvent::Up } else { BusEvent::Down });
        }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a flush. Returns whether there was room.
    pub(crate) fn push(&self, flush: bytes::Bytes) -> bool {
        let mut state = self.lock();
        let cost = flush.len() + FLUSH_COST;
        if !state.is_full && state.bytes + cost > BYTES_MAX {
            state.change(|state| state.is_full = true);
        }
        let has_room = !state.is_full;
        if has_room {
            state.bytes += cost;
            state.events.push_back(BusEvent::Flush(flush));
        }
        drop(state);
        self.more.notify_one();
        has_room
    }

    /// The connection is lost, or messages were.
    pub(crate) fn lost(&self) {
        self.lock().change(|state| state.is_lost = true);
        self.more.notify_one();
    }

    /// Everything is heard again.
    pub(crate) fn found(&self) {
        self.lock().change(|state| state.is_lost = false);
        self.more.notify_one();
    }

    /// Waits for the next event.
    pub(crate) async fn next(&self) -> BusEvent {
        loop {
            if let Some(event) = self.pop() {
                return event;
            }
            self.more.notified().await;
        }
    }

    fn pop(&self) -> Option<BusEvent> {
        let mut state = self.lock();
        let event = state.events.pop_front()?;
        if let BusEvent::Flush(flush) = &event {
            state.bytes -= flush.len() + FLUSH_COST;
            if state.is_full && state.bytes <= BYTES_MAX / 2 {
                state.change(|state| state.is_full = false);
            }
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;

    const MEBIBYTE: usize = 1 << 20;

    fn drain(inbox: &Inbox) -> Vec<BusEvent> {
        std::iter::from_fn(|| inbox.pop()).collect()
    }

    #[test]
    fn a_loss_is_told_once_and_between_the_flushes() {
        let inbox = Inbox::default();
        assert!(inbox.push("a".into()));
        inbox.lost();
        inbox.lost();
        assert!(inbox.push("b".into()));
        inbox.found();
        inbox.found();
        let expected = [BusEvent::Flush("a".into()), BusEvent::Down, BusEvent::Flush("b".into()), BusEvent::Up];
        assert_eq!(drain(&inbox), expected);
    }

    #[test]
    fn what_waits_is_bounded_and_the_loss_is_told() {
        let inbox = Inbox::default();
        let flush = Bytes::from(vec![0; MEBIBYTE]);
        let taken = (0..200).filter(|_| inbox.push(flush.clone())).count();
        assert_eq!(taken, 63);
        assert!(inbox.lock().bytes <= BYTES_MAX);
        // Only after half of it is taken, there is room again: otherwise each flush would be a loss of its own.
        let mut events = Vec::new();
        while !inbox.push("later".into()) {
            events.extend(inbox.pop());
        }
        assert_eq!(events.iter().filter(|event| **event == BusEvent::Flush(flush.clone())).count(), 32);
        let rest = drain(&inbox);
        let told: Vec<_> = rest.iter().filter(|event| !matches!(event, BusEvent::Flush(_))).collect();
        assert_eq!(told, [&BusEvent::Down, &BusEvent::Up]);
        assert_eq!(rest.last(), Some(&BusEvent::Flush("later".into())));
        assert_eq!(inbox.lock().bytes, 0);
    }

    #[test]
    fn a_connection_that_is_found_while_it_is_full_is_not_told_too_early() {
        let inbox = Inbox::default();
        let flush = Bytes::from(vec![0; MEBIBYTE]);
        while inbox.push(flush.clone()) {}
        inbox.lost();
        inbox.found();
        let events = drain(&inbox);
        assert_eq!(events.iter().filter(|event| **event == BusEvent::Up).count(), 1);
        assert_eq!(events.last(), Some(&BusEvent::Up));
    }

    #[tokio::test]
    async fn waiting_may_be_given_up() {
        let inbox = Inbox::default();
        assert_eq!(inbox.next().now_or_never(), None);
        inbox.push("a".into());
        assert_eq!(inbox.next().await, BusEvent::Flush("a".into()));
    }
}
